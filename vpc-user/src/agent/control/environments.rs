//! Environments of functions: in the state, on disk, and in the data plane.

use super::{ControlError, ControlPlane, brings_forward, context, entries::enter_environment};
use crate::{
    control::{
        self, Command, Id, Resource as _, Transaction,
        life::{AttachEnvironment, Event},
        resource::{Environment, Subnet},
    },
    dataplane::{AttachError, Dataplane, Move},
    model::{AttachRequest, EnvironmentInfo, FunctionAttachRequest, ObjectName},
};

impl ControlPlane {
    /// Attaches an environment of a function: refused unless it can be invoked. While its
    /// record goes to the disk it goes into the tables: what a crash leaves of one without
    /// the other is undone at the start.
    pub fn attach(
        &mut self,
        dataplane: &mut Dataplane,
        request: &FunctionAttachRequest,
    ) -> Result<EnvironmentInfo, ControlError> {
        let name = request.name.as_str();
        let event = Event::AttachEnvironment(AttachEnvironment::from(request));
        let mut context = context(&self.settings, request.account)?;
        let mut transaction = Transaction::new(&mut self.state);
        let answer = control::decide(&mut transaction, &Command::Life(event), &mut context)?;
        let environment = transaction.get::<Environment>(name);
        let attachment = match environment.filter(|_| answer.is_ok()) {
            Some(environment) => {
                let attachment = dataplane.prepare(&request.of_group(&environment.eni_group))?;
                enter_environment(&self.directory, &transaction, environment);
                Some(attachment)
            }
            None => None,
        };
        let changes = transaction.changes();
        let (kept, attached) = self.committer.commit_beside(self.revision, changes, || {
            attachment.map(|attachment| dataplane.finish(attachment))
        });
        let changes = match kept {
            Ok((revision, changes)) => {
                self.revision = revision;
                changes
            }
            Err(error) => {
                drop(transaction);
                if let Some(Ok(_)) = attached
                    && let Err(error) = dataplane.detach(&request.name)
                {
                    tracing::warn!(%error, "an attach was not undone");
                }
                return Err(error.into());
            }
        };
        transaction.commit();
        self.due_is_old |= brings_forward(&changes);
        self.follow(dataplane, changes);
        answer?;
        match attached {
            Some(Ok(info)) => Ok(info),
            Some(Err(error)) => {
                self.lost(dataplane, vec![name.to_owned()]);
                Err(error.into())
            }
            None => Err(AttachError::Unknown {
                name: request.name.clone(),
            }
            .into()),
        }
    }

    /// Detaches an environment of a function.
    pub fn detach(
        &mut self,
        dataplane: &mut Dataplane,
        name: &ObjectName,
    ) -> Result<EnvironmentInfo, ControlError> {
        let known = self.state.get::<Environment>(name.as_str());
        let Some(account) = known.map(|environment| environment.owner_id) else {
            return Ok(dataplane.detach(name)?);
        };
        let event = Event::DetachEnvironment {
            environment_id: name.clone(),
        };
        let (info, changes) = self.decide(account, |transaction, context| {
            control::decide(transaction, &Command::Life(event), context)??;
            Ok(dataplane.detach(name)?)
        })?;
        self.follow(dataplane, changes);
        Ok(info)
    }

    /// Brings environments of the state and of the data plane together after a start:
    /// what only one of the two knows is gone.
    pub fn reconcile_environments(&mut self, dataplane: &mut Dataplane) {
        let unknown = dataplane
            .environment_names()
            .filter(|name| self.state.get::<Environment>(name).is_none());
        let unknown: Vec<String> = unknown.map(str::to_owned).collect();
        for name in unknown {
            let Ok(name) = ObjectName::new(name) else {
                continue;
            };
            match dataplane.detach(&name) {
                Ok(_) => tracing::warn!(environment = %name, "nobody attached it: detached"),
                Err(error) => tracing::warn!(%error, "an unknown environment stays for now"),
            }
        }
        self.forget_gone(dataplane);
    }

    /// Environments of which the data plane knows nothing: their end could not be kept when
    /// they were lost.
    pub(super) fn forget_gone(&mut self, dataplane: &mut Dataplane) {
        let names = self.state.all::<Environment>().map(|one| one.id());
        let gone = names.filter(|name| !dataplane.knows_environment(name));
        let gone = gone.collect();
        self.lost(dataplane, gone);
    }

    /// Environments whose interface is gone.
    pub fn lost(&mut self, dataplane: &mut Dataplane, names: Vec<String>) {
        let events = names.into_iter().filter_map(|name| {
            let environment = self.state.get::<Environment>(&name)?;
            Some(Event::DetachEnvironment {
                environment_id: environment.environment_id.clone(),
            })
        });
        let events = events.collect();
        self.report(dataplane, events);
    }

    pub(super) fn make_moves(&mut self, dataplane: &mut Dataplane, moves: &[Move]) {
        if moves.is_empty() {
            return;
        }
        for error in dataplane.move_environments(moves) {
            tracing::warn!(%error, "an environment was not moved");
            self.pass_due = true;
        }
    }

    pub(super) fn all_moves(&self, dataplane: &Dataplane) -> Vec<Move> {
        let names = self
            .state
            .all::<Environment>()
            .map(|one| &one.environment_id);
        names
            .filter_map(|name| self.one_move(dataplane, name))
            .collect()
    }

    /// The move that brings an environment to the group it is to be in.
    pub(super) fn one_move(&self, dataplane: &Dataplane, name: &Id) -> Option<Move> {
        let environment = self.state.get::<Environment>(name.as_str())?;
        let is_in = dataplane.group_of(name.as_str())?;
        let is_to_be_in = &environment.eni_group;
        let vpc_of = |group: &str| {
            let subnet = self.desired.subnet_of(group)?;
            Some(&self.state.get::<Subnet>(subnet.as_str())?.vpc_id)
        };
        (is_in != is_to_be_in.as_str()).then(|| Move {
            environment: name.clone(),
            group: is_to_be_in.clone(),
            // A group that nobody knows any more may have been anywhere.
            ends_flows: vpc_of(is_in).is_none() || vpc_of(is_in) != vpc_of(is_to_be_in.as_str()),
        })
    }
}

impl From<&FunctionAttachRequest> for AttachEnvironment {
    fn from(request: &FunctionAttachRequest) -> Self {
        Self {
            environment_id: request.name.clone(),
            function: request.function.clone(),
            interface: request.interface.clone(),
            address: request.address,
            availability_zone: request.zone.clone(),
        }
    }
}

impl FunctionAttachRequest {
    /// The same for the data plane.
    fn of_group(&self, group: &Id) -> AttachRequest {
        AttachRequest {
            name: self.name.clone(),
            interface: self.interface.clone(),
            group: group.clone(),
            address: self.address,
            gateway: self.gateway,
            mac: self.mac.clone(),
            netns: self.netns.clone(),
            hook: self.hook,
            flow_quota: self.flow_quota,
            flow_rate: self.flow_rate,
            flow_burst: self.flow_burst,
        }
    }
}
