//! Sources in few words.

use ipnet::Ipv4Net;

use super::super::*;
use crate::model::{ObjectName, Traffic};

pub fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

pub fn net(text: &str) -> Ipv4Net {
    text.parse().unwrap()
}

/// A subnet without rules or routes.
pub fn closed() -> Source {
    Source {
        out: Vec::new(),
        acl_out: Vec::new(),
        acl_in: Vec::new(),
        routes: Vec::new(),
        subnet: net("10.0.0.0/24"),
        unfiltered: Vec::new(),
        reserved: vec![net("169.254.168.0/22")],
    }
}

pub fn sg(traffic: Traffic, cidr: Ipv4Net) -> SgRule {
    SgRule {
        traffic,
        cidr,
        rule: RuleName {
            group: name("web"),
            number: 1,
        },
    }
}

pub fn acl(number: u16, traffic: Traffic, cidr: Ipv4Net, allow: bool) -> AclRule {
    AclRule {
        traffic,
        cidr,
        allow,
        acl: name("acl"),
        number,
    }
}

pub fn route(cidr: Ipv4Net, hop: Hop) -> RouteRule {
    RouteRule {
        cidr,
        destination: cidr,
        hop,
        name: RouteName::Route {
            table: name("main"),
            number: 1,
            prefix_list: None,
        },
    }
}

pub fn via(last: u8) -> Hop {
    Hop::Via {
        uplink: name("up3"),
        address: [10, 0, 0, last].into(),
    }
}

/// Uplinks are called `up<index>`; others have none.
pub fn index(uplink: &ObjectName) -> Option<u32> {
    uplink.as_str().strip_prefix("up")?.parse().ok()
}

pub fn image(source: &Source) -> Vec<u64> {
    compile(source, &index).unwrap()
}
