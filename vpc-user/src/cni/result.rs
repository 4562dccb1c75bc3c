//! Results: what ADD answers, and what CHECK is told of it again
//! (<https://www.cni.dev/docs/spec/#section-5-result-types>).

use ipnet::Ipv4Net;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use vpc_common::addr::Mac;

use super::{CniError, Code, NetworkConfig, Version, link::Route};

/// An end of what was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct End {
    /// What it is called where it is.
    pub(super) name: String,
    /// Its MAC; `None` for a microVM's, which its monitor gives it.
    pub(super) mac: Option<Mac>,
    /// IP MTU, bytes.
    pub(super) mtu: u32,
    /// Path of the container's namespace, or id of the microVM; `None` for the host.
    pub(super) sandbox: Option<String>,
}

impl End {
    fn document(&self, version: Version) -> Value {
        let mut document = json!({ "name": self.name });
        if let Some(mac) = self.mac {
            document["mac"] = json!(mac.to_string());
        }
        if version >= Version::V1_1_0 {
            document["mtu"] = json!(self.mtu);
        }
        if let Some(sandbox) = &self.sandbox {
            document["sandbox"] = json!(sandbox);
        }
        document
    }
}

/// The result of an ADD, after that of the plugins before in a chain.
pub(super) fn document(
    config: &NetworkConfig,
    host: &End,
    inside: &End,
) -> Result<Value, CniError> {
    let version = config.version;
    let mut result = match &config.previous {
        None => Map::new(),
        Some(Value::Object(previous)) => previous.clone(),
        Some(_) => return Err(not_a_result()),
    };
    let interfaces = list(&mut result, "interfaces")?;
    interfaces.push(host.document(version));
    let number = interfaces.len();
    interfaces.push(inside.document(version));
    let mut ip = json!({
        "interface": number,
        "address": Ipv4Net::from(config.address).to_string(),
        "gateway": config.gateway,
    });
    if version < Version::V1_0_0 {
        ip["version"] = json!("4");
    }
    list(&mut result, "ips")?.push(ip);
    let route = json!({ "dst": "0.0.0.0/0", "gw": config.gateway });
    list(&mut result, "routes")?.push(route);
    if let Some(dns) = &config.dns {
        result.insert("dns".to_owned(), dns.clone());
    }
    result.insert("cniVersion".to_owned(), json!(version.as_str()));
    Ok(Value::Object(result))
}

/// The list under a key, made if missing.
fn list<'a>(result: &'a mut Map<String, Value>, key: &str) -> Result<&'a mut Vec<Value>, CniError> {
    let entry = result.entry(key).or_insert(Value::Null);
    if entry.is_null() {
        *entry = json!([]);
    }
    entry.as_array_mut().ok_or_else(not_a_result)
}

fn not_a_result() -> CniError {
    let message = "\"prevResult\" is not the result of a plugin: start with ADD";
    CniError::new(Code::Decode, message)
}

/// What is read of the result of an ADD.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub(super) struct Previous {
    interfaces: Option<Vec<PreviousInterface>>,
    ips: Option<Vec<PreviousIp>>,
    routes: Option<Vec<PreviousRoute>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct PreviousInterface {
    name: String,
    sandbox: Option<String>,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct PreviousIp {
    interface: Option<usize>,
    address: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
struct PreviousRoute {
    dst: String,
    gw: Option<String>,
}

impl Previous {
    /// That of a network configuration, which a CHECK needs.
    pub(super) fn of(config: &NetworkConfig) -> Result<Self, CniError> {
        let Some(previous) = &config.previous else {
            let message = "the network configuration has no \"prevResult\": CHECK needs what ADD \
                           answered";
            return Err(CniError::new(Code::Configuration, message));
        };
        serde_json::from_value(previous.clone()).map_err(|_| not_a_result())
    }

    /// The number of an interface; one of the host has no sandbox.
    pub(super) fn interface(&self, name: &str, sandbox: Option<&str>) -> Option<usize> {
        let mut interfaces = self.interfaces.iter().flatten();
        interfaces.position(|one| {
            let is_in = one.sandbox.as_deref().filter(|sandbox| !sandbox.is_empty());
            one.name == name && is_in == sandbox
        })
    }

    /// The IPv4 addresses of an interface.
    pub(super) fn addresses(&self, interface: usize) -> impl Iterator<Item = Ipv4Net> {
        let ips = self.ips.iter().flatten();
        let ours = ips.filter(move |ip| ip.interface == Some(interface));
        ours.filter_map(|ip| ip.address.parse().ok())
    }

    /// Whether a route is in it.
    pub(super) fn has_route(&self, route: Route) -> bool {
        let destination = Ipv4Net::new(route.destination, route.prefix_len).ok();
        let gateway = route.gateway.map(|gateway| gateway.to_string());
        let mut routes = self.routes.iter().flatten();
        routes.any(|one| one.dst.parse().ok() == destination && one.gw == gateway)
    }
}
