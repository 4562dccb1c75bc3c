//! GC: what the runtime no longer knows is released.

use std::collections::BTreeSet;

use super::{Attachment, CniError, Code, NetworkConfig, agent, verbs};
use crate::dataplane::netlink::Netlink;

/// Releases every attachment of the network that is not listed: environments the agent
/// has, and links whose environment it no longer has.
pub(super) fn collect(config: &NetworkConfig) -> Result<(), CniError> {
    let valid = valid(config)?;
    let mut names: BTreeSet<String> = agent::environments(&config.socket)?
        .into_iter()
        .map(|environment| environment.name)
        .collect();
    names.extend(aliases()?);
    let stale = names.iter().filter(|name| !valid.contains(*name));
    let stale: Vec<Attachment> = stale
        .filter_map(|name| config.network.attachment_of(name))
        .collect();
    let failures: Vec<String> = stale
        .iter()
        .filter_map(|attachment| verbs::release(config, attachment).err())
        .map(|error| error.message)
        .collect();
    if failures.is_empty() {
        return Ok(());
    }
    Err(CniError::new(Code::Left, failures.join("; ")))
}

/// The environments that stay.
fn valid(config: &NetworkConfig) -> Result<BTreeSet<String>, CniError> {
    let Some(valid) = &config.valid else {
        let message = "the network configuration has no \"cni.dev/valid-attachments\": without \
                       them GC cannot tell what is to stay";
        return Err(CniError::new(Code::Configuration, message));
    };
    let names = valid.iter().map(|one| {
        let attachment = config.network.attachment(&one.container, &one.interface);
        Ok(attachment?.environment.to_string())
    });
    names
        .collect::<Result<_, crate::model::NameError>>()
        .map_err(|error| CniError::new(Code::Configuration, error.to_string()))
}

/// The aliases of links: of ours, the names of their environments.
fn aliases() -> Result<Vec<String>, CniError> {
    let links = Netlink::open().and_then(|mut netlink| netlink.links());
    let links = links.map_err(|error| {
        CniError::new(
            Code::Link,
            format!("the host's links cannot be listed ({error})"),
        )
    })?;
    Ok(links.into_iter().map(|link| link.alias).collect())
}
