//! The directory is told where ENIs are and what environments run.

use super::ControlPlane;
use crate::{
    control::{
        Change, Record, State, ec2,
        resource::{Environment, Function, Interface, Subnet},
    },
    flowlog::{Directory, Place},
};

impl ControlPlane {
    /// Everything of the state.
    pub(super) fn enter_all(&self) {
        for eni in self.state.all::<Interface>() {
            self.enter_eni(eni);
        }
        for environment in self.state.all::<Environment>() {
            enter_environment(&self.directory, &self.state, environment);
        }
    }

    /// What has changed.
    pub(super) fn enter(&self, changes: &[Change]) {
        for change in changes {
            match (&change.before, &change.after) {
                (_, Some(Record::Interface(eni))) => self.enter_eni(eni),
                (Some(Record::Interface(eni)), None) => {
                    self.directory
                        .remove_place(eni.network_interface_id.as_str());
                }
                _ => {}
            }
        }
    }

    fn enter_eni(&self, eni: &Interface) {
        if eni.hyperplane.is_none() {
            return;
        }
        let subnet = self.state.get::<Subnet>(eni.subnet_id.as_str());
        let zone = subnet.map_or("-", |subnet| &subnet.availability_zone);
        self.directory.set_place(Place {
            account_id: eni.owner_id.to_string(),
            interface_id: eni.network_interface_id.to_string(),
            address: eni.private_ip_address,
            vpc_id: eni.vpc_id.to_string(),
            subnet_id: eni.subnet_id.to_string(),
            region: self.settings.region.clone(),
            az_id: ec2::edge::zone_id(zone),
        });
    }
}

/// What an environment runs, which is known before it is attached.
pub(super) fn enter_environment(directory: &Directory, state: &State, environment: &Environment) {
    if let Some(function) = state.get::<Function>(&environment.function) {
        let name = environment.environment_id.as_str();
        directory.set_function(name, &function.qualified_arn());
    }
}
