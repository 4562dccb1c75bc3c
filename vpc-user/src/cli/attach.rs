//! `vpc attach`.

use std::net::Ipv4Addr;

use anyhow::{Result, bail};
use clap::{ArgGroup, Args};

use super::{hook_wish, mac, object_name};
use crate::{
    control::Account,
    model::{
        AttachRequest, DEFAULT_ADDRESS, DEFAULT_GATEWAY, FunctionAttachRequest, HookWish,
        ObjectName, Request,
    },
};

pub(super) const HELP: &str = "\
Examples:
  An environment of a function; its version must be one that can be invoked:
    vpc attach --function fn-1:live --interface tap1
  A microVM's tap, to a group of the configuration:
    vpc attach fn-1 --interface tap1 --group blue-app --address 172.16.0.2 --gateway 172.16.0.1
  A container's veth, far end in a namespace:
    vpc attach fn-2 --interface veth2 --group blue-app --address 172.16.0.2 \\
      --gateway 172.16.0.1 --netns fn-2

Environments may have the same address and MAC: they are told apart by interface.
All or nothing: if it is refused, nothing was changed.";

/// `vpc attach`.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("to").required(true).args(["function", "group"]))]
pub struct AttachArgs {
    /// What to call it: a-z, 0-9, '.', '_' and '-'. By default, what its interface is
    /// called.
    #[arg(value_parser = object_name)]
    pub name: Option<ObjectName>,
    /// The same.
    #[arg(long, value_name = "ID", value_parser = object_name, conflicts_with = "name")]
    pub environment: Option<ObjectName>,
    /// Its interface on this host: a tap, or the near end of a veth.
    #[arg(long, value_name = "IF")]
    pub interface: String,
    /// The function that it runs, and which version or alias of it.
    #[arg(long, value_name = "NAME[:QUALIFIER]")]
    pub function: Option<String>,
    /// The account of the function: twelve digits.
    #[arg(long, requires = "function", value_parser = account)]
    pub account: Option<Account>,
    /// The availability zone it is in: a subnet there is preferred.
    #[arg(long, requires = "function")]
    pub zone: Option<String>,
    /// The group of ENIs its flows leave from.
    #[arg(long, value_parser = object_name, requires_all = ["address", "gateway"])]
    pub group: Option<ObjectName>,
    /// Its IPv4 address: the only source it may use [default of a function:
    /// 169.254.100.2].
    #[arg(long, value_name = "IP", requires = "gateway")]
    pub address: Option<Ipv4Addr>,
    /// The gateway it is configured with; the data path answers for it [default of a
    /// function: 169.254.100.1].
    #[arg(long, value_name = "IP", requires = "address")]
    pub gateway: Option<Ipv4Addr>,
    /// Its MAC; learnt from its first frame if not given.
    #[arg(long, value_parser = mac)]
    pub mac: Option<String>,
    /// Namespace of a veth's far end, to prepare it.
    #[arg(long, value_name = "NAME|PATH")]
    pub netns: Option<String>,
    /// Where its packets are handled: by what the interface can (auto), in the
    /// driver (xdp) or in the stack (tc).
    #[arg(long, value_name = "HOOK", default_value = "auto", value_parser = hook_wish())]
    pub hook: HookWish,
    /// Open flows it may have.
    #[arg(long, value_name = "N", default_value_t = AttachRequest::default_flow_quota())]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub flow_quota: u32,
    /// New flows per second it may sustain; 0 = unlimited.
    #[arg(long, value_name = "N", default_value_t = AttachRequest::default_flow_rate())]
    pub flow_rate: u32,
    /// New flows it may open at once.
    #[arg(long, value_name = "N", default_value_t = AttachRequest::default_flow_burst())]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub flow_burst: u32,
    /// Print the environment as JSON.
    #[arg(long)]
    pub json: bool,
}

fn account(text: &str) -> Result<Account, String> {
    Account::try_from(text.to_owned())
}

impl AttachArgs {
    /// What is asked of the agent.
    pub(super) fn request(self) -> Result<Request> {
        let name = match self.name.or(self.environment) {
            Some(name) => name,
            None => ObjectName::new(self.interface.clone())?,
        };
        let (address, gateway) = (self.address, self.gateway);
        match (self.function, self.group) {
            (Some(function), _) => Ok(Request::AttachFunction(FunctionAttachRequest {
                name,
                function,
                account: self.account.unwrap_or_default(),
                interface: self.interface,
                address: address.unwrap_or(DEFAULT_ADDRESS),
                gateway: gateway.unwrap_or(DEFAULT_GATEWAY),
                zone: self.zone,
                mac: self.mac,
                netns: self.netns,
                hook: self.hook,
                flow_quota: self.flow_quota,
                flow_rate: self.flow_rate,
                flow_burst: self.flow_burst,
            })),
            (None, Some(group)) => {
                let (Some(address), Some(gateway)) = (address, gateway) else {
                    bail!("a group needs --address and --gateway");
                };
                Ok(Request::Attach(AttachRequest {
                    name,
                    interface: self.interface,
                    group,
                    address,
                    gateway,
                    mac: self.mac,
                    netns: self.netns,
                    hook: self.hook,
                    flow_quota: self.flow_quota,
                    flow_rate: self.flow_rate,
                    flow_burst: self.flow_burst,
                }))
            }
            (None, None) => bail!("say what to attach it to: --function or --group"),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn request(line: &str) -> Request {
        let cli = Cli::try_parse_from(line.split(' ')).expect("valid");
        let Command::Attach(args) = cli.command else {
            panic!("{cli:?}")
        };
        args.request().expect("a request")
    }

    #[test]
    fn attach_has_the_defaults_of_the_request() {
        let line = "vpc attach a --interface tap0 --group g --address 10.0.0.2 --gateway 10.0.0.1";
        let json = r#"{"command":"attach","name":"a","interface":"tap0","group":"g","address":"10.0.0.2","gateway":"10.0.0.1"}"#;
        let expected: Request = serde_json::from_str(json).expect("a request");
        assert_eq!(request(line), expected);
    }

    #[test]
    fn an_environment_of_a_function_is_called_like_its_interface() {
        let json = r#"{"command":"attach_function","name":"tap0","interface":"tap0","function":"fn-1:live"}"#;
        let expected: Request = serde_json::from_str(json).expect("a request");
        let line = "vpc attach --interface tap0 --function fn-1:live";
        assert_eq!(request(line), expected);
        let named = request("vpc attach --interface tap0 --function fn-1:live --environment e-1");
        assert_eq!(
            named,
            request("vpc attach e-1 --interface tap0 --function fn-1:live")
        );
    }
}
