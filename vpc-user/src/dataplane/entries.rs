//! The directory is told what has an index, and since when.

use vpc_common::{addr::Addr, layout::NameKey};

use super::{
    Dataplane, clock,
    listing::v4,
    mirror::{Attached, Named},
    step::Step,
};

impl Dataplane {
    /// Everything that was found in the tables.
    pub(super) fn enter_all(&self) {
        for index in self.mirror.enis.keys() {
            self.enter_eni(*index);
        }
        for (index, attached) in self.environments.iter() {
            self.enter_environment(index, attached);
        }
    }

    /// An environment is about to be in the tables.
    pub(super) fn enter_environment(&self, index: u32, attached: &Attached) {
        let value = &attached.value;
        self.directory.environment(
            index,
            value.generation,
            &attached.name,
            v4(value.address),
            clock::now_tick(),
        );
    }

    fn enter_eni(&self, index: u32) {
        // One that has a name and nothing else yet has no flows either.
        if let Some(Named { name, value }) = self.mirror.enis.get(&index)
            && value.address != Addr::UNSPECIFIED
        {
            let now = clock::now_tick();
            self.directory.eni(index, name, v4(value.address), now);
        }
    }

    /// A step was performed.
    pub(super) fn enter_step(&self, step: &Step) {
        match step {
            Step::SetName(NameKey { kind, index }, _) if *kind == NameKey::ENI => {
                self.enter_eni(*index);
            }
            Step::SetEni(index, _) => self.enter_eni(*index),
            Step::ClearEni(index) => self.directory.eni_gone(*index, clock::now_tick()),
            _ => {}
        }
    }
}
