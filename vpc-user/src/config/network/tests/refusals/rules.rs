//! Refusals of rules, entries and routes.

use super::{
    Case::{Add, With},
    refused,
};

#[test]
fn faulty_protocols_ports_and_icmp_types_are_refused() {
    refused(TRAFFIC);
}

#[test]
fn a_faulty_security_group_is_refused() {
    refused(SECURITY_GROUPS);
}

#[test]
fn a_faulty_network_acl_is_refused() {
    refused(NETWORK_ACLS);
}

#[test]
fn a_faulty_route_table_is_refused() {
    refused(ROUTE_TABLES);
}

const TRAFFIC: &[super::Case] = &[
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"sctp\"",
        "security_group \"app\", egress number 1: protocol = \"sctp\" is not a protocol: use \"tcp\", \"udp\", \"icmp\", \"all\", or a number from 0 to 255 as text",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"256\"",
        "security_group \"app\", egress number 1: protocol = \"256\" is not a protocol: use \"tcp\", \"udp\", \"icmp\", \"all\", or a number from 0 to 255 as text",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"+6\", ports = \"1\"",
        "security_group \"app\", egress number 1: protocol = \"+6\" is not a protocol: use \"tcp\", \"udp\", \"icmp\", \"all\", or a number from 0 to 255 as text",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"\"",
        "security_group \"app\", egress number 1: protocol = \"\" is not a protocol: use \"tcp\", \"udp\", \"icmp\", \"all\", or a number from 0 to 255 as text",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\"",
        "security_group \"app\", egress number 1: protocol = \"tcp\" needs the key ports: add it, as in \"443\", or \"0-65535\" for all ports",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"17\"",
        "security_group \"app\", egress number 1: protocol = \"17\" needs the key ports: add it, as in \"443\", or \"0-65535\" for all ports",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"all\", ports = \"443\"",
        "security_group \"app\", egress number 1: ports = \"443\" has no meaning for this protocol: remove it, or make the protocol \"tcp\" or \"udp\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"47\", ports = \"443\"",
        "security_group \"app\", egress number 1: ports = \"443\" has no meaning for this protocol: remove it, or make the protocol \"tcp\" or \"udp\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"icmp\", ports = \"443\"",
        "security_group \"app\", egress number 1: ports = \"443\" has no meaning for this protocol: remove it, or make the protocol \"tcp\" or \"udp\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\", ports = \"https\"",
        "security_group \"app\", egress number 1: ports = \"https\" is neither a port nor a range of ports, 0 to 65535: write it like \"443\" or \"1024-65535\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\", ports = \"65536\"",
        "security_group \"app\", egress number 1: ports = \"65536\" is neither a port nor a range of ports, 0 to 65535: write it like \"443\" or \"1024-65535\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\", ports = \"1-\"",
        "security_group \"app\", egress number 1: ports = \"1-\" is neither a port nor a range of ports, 0 to 65535: write it like \"443\" or \"1024-65535\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\", ports = \"1-2-3\"",
        "security_group \"app\", egress number 1: ports = \"1-2-3\" is neither a port nor a range of ports, 0 to 65535: write it like \"443\" or \"1024-65535\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\", ports = \"90-80\"",
        "security_group \"app\", egress number 1: ports = \"90-80\" ends before it begins: write \"80-90\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"tcp\", ports = \"443\", icmp = \"8\"",
        "security_group \"app\", egress number 1: icmp = \"8\" has no meaning for this protocol: remove it, or make the protocol \"icmp\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"all\", icmp = \"8\"",
        "security_group \"app\", egress number 1: icmp = \"8\" has no meaning for this protocol: remove it, or make the protocol \"icmp\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"icmp\", icmp = \"echo\"",
        "security_group \"app\", egress number 1: icmp = \"echo\" is neither an ICMP type nor a type and a code, each 0 to 255: write it like \"8\" or \"3/4\", or leave the key out for all ICMP",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"icmp\", icmp = \"256\"",
        "security_group \"app\", egress number 1: icmp = \"256\" is neither an ICMP type nor a type and a code, each 0 to 255: write it like \"8\" or \"3/4\", or leave the key out for all ICMP",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"icmp\", icmp = \"3/\"",
        "security_group \"app\", egress number 1: icmp = \"3/\" is neither an ICMP type nor a type and a code, each 0 to 255: write it like \"8\" or \"3/4\", or leave the key out for all ICMP",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\"",
        "protocol = \"icmp\", icmp = \"-1\"",
        "security_group \"app\", egress number 1: icmp = \"-1\" is neither an ICMP type nor a type and a code, each 0 to 255: write it like \"8\" or \"3/4\", or leave the key out for all ICMP",
    ),
];

const SECURITY_GROUPS: &[super::Case] = &[
    Add(
        "[[security_group]]\nname = \"app\"\nvpc = \"green\"",
        "security_group number 3: name = \"app\" is the name of another security_group too: give each security_group a name of its own",
    ),
    Add(
        "[[security_group]]\nname = \"web\"\nvpc = \"red\"",
        "security_group \"web\": vpc = \"red\" names no [[vpc]] (there is blue, green): correct it or add one",
    ),
    Add(
        "[[security_group]]\nname = \"web\"\nvpc = \"red\"\negres = []",
        "line 104, column 1 is not accepted: unknown field `egres`, expected one of `name`, `vpc`, `ingress`, `egress`: correct or remove it",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\"",
        "security_group \"app\", egress number 1 has none of the keys cidr, security_group and prefix_list: add one of them",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\", security_group = \"db\"",
        "security_group \"app\", egress number 1: security_group = \"db\" is not allowed beside the key cidr: keep one of the keys cidr, security_group and prefix_list",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\", prefix_list = \"partners\", security_group = \"db\"",
        "security_group \"app\", egress number 1: prefix_list = \"partners\" is not allowed beside the key security_group: keep one of the keys cidr, security_group and prefix_list",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0\"",
        "security_group \"app\", egress number 1: cidr = \"0.0.0.0\" is not an IPv4 prefix: write it like \"10.0.0.0/24\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\", cidr = \"10.0.0.1/8\"",
        "security_group \"app\", egress number 1: cidr = \"10.0.0.1/8\" has bits set beyond its prefix length: write \"10.0.0.0/8\"",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\", security_group = \"web\"",
        "security_group \"app\", egress number 1: security_group = \"web\" names no [[security_group]] (there is app, blue-default, db, green-default): correct it or add one",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"tcp\", ports = \"443\", prefix_list = \"web\"",
        "security_group \"app\", egress number 1: prefix_list = \"web\" names no [[prefix_list]] (there is partners): correct it or add one",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"udp\", ports = \"53-54\", security_group = \"db\"",
        "security_group \"app\", egress number 2: security_group = \"db\" is in egress already (udp 53-54 and security_group \"db\"): remove one of the two",
    ),
    With(
        "protocol = \"tcp\", ports = \"443\", cidr = \"0.0.0.0/0\"",
        "protocol = \"icmp\", icmp = \"3/4\", prefix_list = \"partners\"",
        "security_group \"app\", egress number 3: prefix_list = \"partners\" is in egress already (icmp 3/4 and prefix_list \"partners\"): remove one of the two",
    ),
    With(
        "icmp = \"3/4\", prefix_list = \"partners\"",
        "cidr = \"10.0.0.0/8\" },\n    { protocol = \"1\", cidr = \"10.0.0.0/8\"",
        "security_group \"app\", egress number 4: cidr = \"10.0.0.0/8\" is in egress already (icmp and 10.0.0.0/8): remove one of the two",
    ),
];

const NETWORK_ACLS: &[super::Case] = &[
    Add(
        "[[network_acl]]\nname = \"edge\"\nvpc = \"green\"",
        "network_acl number 2: name = \"edge\" is the name of another network_acl too: give each network_acl a name of its own",
    ),
    Add(
        "[[network_acl]]\nname = \"inner\"\nvpc = \"red\"",
        "network_acl \"inner\": vpc = \"red\" names no [[vpc]] (there is blue, green): correct it or add one",
    ),
    With(
        "number = 200",
        "number = 0",
        "network_acl \"edge\", egress number 1: number = 0 is outside 1 to 32766: choose a number in that range",
    ),
    With(
        "number = 200",
        "number = 32767",
        "network_acl \"edge\", egress number 1: number = 32767 is outside 1 to 32766: choose a number in that range",
    ),
    With(
        "number = 200",
        "number = 100",
        "network_acl \"edge\", egress number 2: number = 100 is the number of another entry of egress: give each a number of its own",
    ),
    With(
        "\"deny\"",
        "\"drop\"",
        "network_acl \"edge\", egress number 1: action = \"drop\" is not an action: use \"allow\" or \"deny\"",
    ),
    With(
        "protocol = \"47\"",
        "protocol = \"gre\"",
        "network_acl \"edge\", egress number 1: protocol = \"gre\" is not a protocol: use \"tcp\", \"udp\", \"icmp\", \"all\", or a number from 0 to 255 as text",
    ),
    With(
        "\"10.0.0.0/8\"",
        "\"10.0.0.1/8\"",
        "network_acl \"edge\", egress number 2: cidr = \"10.0.0.1/8\" has bits set beyond its prefix length: write \"10.0.0.0/8\"",
    ),
    With(
        "\"10.0.0.0/8\"",
        "\"10.0.0.0/8\", prefix_list = \"partners\"",
        "line 49, column 77 is not accepted: unknown field `prefix_list`, expected one of `number`, `action`, `protocol`, `ports`, `icmp`, `cidr`: correct or remove it",
    ),
];

const ROUTE_TABLES: &[super::Case] = &[
    Add(
        "[[route_table]]\nname = \"private\"\nvpc = \"green\"",
        "route_table number 2: name = \"private\" is the name of another route_table too: give each route_table a name of its own",
    ),
    Add(
        "[[route_table]]\nname = \"public\"\nvpc = \"red\"",
        "route_table \"public\": vpc = \"red\" names no [[vpc]] (there is blue, green): correct it or add one",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "interface = \"nat\"",
        "route_table \"private\", route number 1 has none of the keys destination and prefix_list: add one of them",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\"",
        "route_table \"private\", route number 1 has none of the keys interface, peering, internet_gateway, nat_gateway and blackhole = true: add one of them",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\", blackhole = false",
        "route_table \"private\", route number 1 has none of the keys interface, peering, internet_gateway, nat_gateway and blackhole = true: add one of them",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\", interface = \"nat\", prefix_list = \"partners\"",
        "route_table \"private\", route number 1: prefix_list = \"partners\" is not allowed beside the key destination: keep one of the keys destination and prefix_list",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\", interface = \"nat\", peering = \"blue-green\"",
        "route_table \"private\", route number 1: peering = \"blue-green\" is not allowed beside the key interface: keep one of the keys interface, peering, internet_gateway, nat_gateway and blackhole = true",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\", interface = \"nat\", blackhole = true",
        "route_table \"private\", route number 1: interface = \"nat\" is not allowed beside the key blackhole: keep one of the keys interface, peering, internet_gateway, nat_gateway and blackhole = true",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"default\", interface = \"nat\"",
        "route_table \"private\", route number 1: destination = \"default\" is not an IPv4 prefix: write it like \"10.0.0.0/24\"",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"10.0.0.1/8\", interface = \"nat\"",
        "route_table \"private\", route number 1: destination = \"10.0.0.1/8\" has bits set beyond its prefix length: write \"10.0.0.0/8\"",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"10.1.0.0/16\", interface = \"nat\"",
        "route_table \"private\", route number 2: destination = \"10.1.0.0/16\" is the destination of another route of the table: keep one of them",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "prefix_list = \"partners\", interface = \"nat\"",
        "route_table \"private\", route number 4: prefix_list = \"partners\" is the destination of another route of the table: keep one of them",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "prefix_list = \"offices\", interface = \"nat\"",
        "route_table \"private\", route number 1: prefix_list = \"offices\" names no [[prefix_list]] (there is partners): correct it or add one",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\", interface = \"gnat\"",
        "route_table \"private\", route number 1: interface = \"gnat\" names no [[interface]] (there is database, nat): correct it or add one",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"0.0.0.0/0\", peering = \"red\"",
        "route_table \"private\", route number 1: peering = \"red\" names no [[peering]] (there is blue-green): correct it or add one",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"169.254.168.0/22\", blackhole = true",
        "route_table \"private\", route number 1: destination = \"169.254.168.0/22\" lies in 169.254.168.0/22, into which nothing is forwarded: remove the route",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"169.254.170.2/32\", interface = \"nat\"",
        "route_table \"private\", route number 1: destination = \"169.254.170.2/32\" lies in 169.254.168.0/22, into which nothing is forwarded: remove the route",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"10.0.0.0/16\", interface = \"nat\"",
        "route_table \"private\", route number 1: destination = \"10.0.0.0/16\" lies in 10.0.0.0/16, which the VPC routes as local: remove the route, or give one to an interface for the whole CIDR of a subnet",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"10.8.1.0/24\", interface = \"nat\"",
        "route_table \"private\", route number 1: destination = \"10.8.1.0/24\" lies in 10.8.0.0/16, which the VPC routes as local: remove the route, or give one to an interface for the whole CIDR of a subnet",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"10.0.1.0/25\", interface = \"nat\"",
        "route_table \"private\", route number 1: destination = \"10.0.1.0/25\" lies in 10.0.0.0/16, which the VPC routes as local: remove the route, or give one to an interface for the whole CIDR of a subnet",
    ),
    With(
        "destination = \"0.0.0.0/0\", interface = \"nat\"",
        "destination = \"10.0.1.0/24\", peering = \"blue-green\"",
        "route_table \"private\", route number 1: destination = \"10.0.1.0/24\" lies in 10.0.0.0/16, which the VPC routes as local: remove the route, or give one to an interface for the whole CIDR of a subnet",
    ),
    With(
        "\"192.0.2.0/24\"",
        "\"10.8.0.0/24\"",
        "route_table \"private\", route number 4: prefix_list = \"partners\" holds 10.8.0.0/24, which lies in 10.8.0.0/16, which the VPC routes as local: remove the route, or give one to an interface for the whole CIDR of a subnet",
    ),
    With(
        "\"192.0.2.0/24\"",
        "\"169.254.169.0/24\"",
        "route_table \"private\", route number 4: prefix_list = \"partners\" holds 169.254.169.0/24, which lies in 169.254.168.0/22, into which nothing is forwarded: remove the route",
    ),
    Add(
        "[[route_table]]\nname = \"other\"\nvpc = \"green\"\nroute = [{ destination = \"0.0.0.0/0\", interface = \"nat\" }]",
        "route_table \"other\", route number 1: interface = \"nat\" is of VPC \"blue\", not of \"green\": name one of VPC \"green\"",
    ),
    Add(
        "[[uplink]]\nname = \"red\"\ninterface = \"eth3\"\n[[vpc]]\nname = \"red\"\ncidr = [\"10.0.0.0/16\"]\nuplink = \"red\"\n[[route_table]]\nname = \"other\"\nvpc = \"red\"\nroute = [{ destination = \"10.1.0.0/16\", peering = \"blue-green\" }]",
        "route_table \"other\", route number 1: peering = \"blue-green\" connects other VPCs than \"red\": name a [[peering]] of VPC \"red\"",
    ),
    With(
        "router = \"10.0.1.1\"\n",
        "",
        "subnet \"app\": route_table = \"private\" routes 0.0.0.0/0 to interface \"nat\" outside the subnet, where group \"blue-app\" has no router to reach it by: give the subnet a router, or the VPC local = \"on-link\"",
    ),
];
