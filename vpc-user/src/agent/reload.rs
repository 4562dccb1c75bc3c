//! The configuration file, read at the start and again when asked to. Another file than
//! the one that is in force is taken whole or not at all: whatever is wrong with it, the
//! agent goes on with what it has.

use std::path::{Path, PathBuf};

use vpc_common::layout::{BLOCK_PORTS, Limits};

use crate::{
    config::{self, ConfigError},
    model::{Config, FlowLogsConfig},
};

/// Where the configuration is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    /// Replaces the file's `socket`.
    socket: Option<PathBuf>,
}

impl ConfigFile {
    /// A file by its path, which is made absolute: the file stays the same one wherever
    /// the agent goes. `socket`, if given, replaces the file's own.
    pub fn new(path: &Path, socket: Option<&Path>) -> Self {
        Self {
            // Fails only for an empty path, which no file has.
            path: std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()),
            socket: socket.map(Path::to_path_buf),
        }
    }

    /// The configuration that is written there now.
    pub fn load(&self) -> Result<Config, ReloadError> {
        let mut config = config::load(&self.path).map_err(|cause| match cause {
            ConfigError::Read { .. } => ReloadError::Unreadable(cause),
            cause => ReloadError::Refused {
                path: self.path.clone(),
                cause,
            },
        })?;
        if let Some(socket) = &self.socket {
            config.socket.clone_from(socket);
        }
        Ok(config)
    }

    /// The configuration that is written there now, if an agent that runs with
    /// `in_force` can take it.
    pub fn reload(&self, in_force: &Config) -> Result<Config, ReloadError> {
        let config = self.load()?;
        match difference(in_force, &config) {
            None => Ok(config),
            Some(fixed) => Err(ReloadError::Fixed {
                path: self.path.clone(),
                fixed,
            }),
        }
    }
}

/// Why a file is not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// There is no such file, or it cannot be read.
    #[error(transparent)]
    Unreadable(ConfigError),
    /// It is not valid.
    #[error("{}: {cause}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: ConfigError,
    },
    /// It changes what holds from the start of an agent to its end.
    #[error("{}: {fixed}", path.display())]
    Fixed {
        /// The file.
        path: PathBuf,
        /// What it changes.
        fixed: Fixed,
    },
}

/// A value that cannot change while the agent runs.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{key} = {value} cannot be taken by a running agent, which has {in_force}: {remedy}")]
pub struct Fixed {
    key: &'static str,
    value: String,
    in_force: String,
    remedy: &'static str,
}

/// What the folder and the tables in it need.
const TEARDOWN: &str = "restore it, or stop the agent, `vpc teardown` and start it again";
/// What the socket needs.
const RESTART: &str = "restore it, or restart the agent";

/// The first value that cannot change while the agent runs and does.
fn difference(in_force: &Config, written: &Config) -> Option<Fixed> {
    let path = |key, before: &Path, after: &Path, remedy| {
        (before != after).then(|| Fixed {
            key,
            value: format!("{after:?}"),
            in_force: format!("{before:?}"),
            remedy,
        })
    };
    path("pin_dir", &in_force.pin_dir, &written.pin_dir, TEARDOWN)
        .or_else(|| path("socket", &in_force.socket, &written.socket, RESTART))
        .or_else(|| limit(&in_force.limits, &written.limits))
        .or_else(|| flow_logs(in_force.flow_logs.as_ref(), written.flow_logs.as_ref()))
}

/// Where flow logs are kept, and in which periods.
fn flow_logs(in_force: Option<&FlowLogsConfig>, written: Option<&FlowLogsConfig>) -> Option<Fixed> {
    let shown = |config: Option<&FlowLogsConfig>| match config {
        Some(config) => format!("{:?} every {} s", config.dir, config.period_secs),
        None => "nothing".to_owned(),
    };
    let (before, after) = (shown(in_force), shown(written));
    (before != after).then_some(Fixed {
        key: "flow_logs",
        value: after,
        in_force: before,
        remedy: RESTART,
    })
}

fn limit(before: &Limits, after: &Limits) -> Option<Fixed> {
    let (before, after) = (numbers(before), numbers(after));
    let mut pairs = before.into_iter().zip(after);
    let ((_, in_force), (key, value)) = pairs.find(|(before, after)| before != after)?;
    Some(Fixed {
        key,
        value: value.to_string(),
        in_force: in_force.to_string(),
        remedy: TEARDOWN,
    })
}

/// Limits by the keys of the file.
fn numbers(limits: &Limits) -> [(&'static str, u64); 8] {
    let Limits {
        environments,
        uplinks,
        enis,
        next_hops,
        blocks,
        fragments,
        policy_words,
        refusals,
    } = *limits;
    [
        ("limits: environments", environments.into()),
        ("limits: uplinks", uplinks.into()),
        ("limits: enis", enis.into()),
        ("limits: next_hops", next_hops.into()),
        ("limits: flows", u64::from(blocks) * u64::from(BLOCK_PORTS)),
        ("limits: fragments", fragments.into()),
        ("limits: policy_words", policy_words.into()),
        ("limits: refusals", refusals.into()),
    ]
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct File {
        folder: TempDir,
        file: ConfigFile,
    }

    impl File {
        fn new(text: &str) -> Self {
            let folder = TempDir::new().expect("a folder");
            let file = ConfigFile::new(&folder.path().join("vpc.toml"), None);
            let file = Self { folder, file };
            file.write(text);
            file
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.file.path, text).expect("written");
        }

        fn refusal(&self, in_force: &Config) -> String {
            let refused = self.file.reload(in_force).expect_err("refused");
            let prefix = format!("{}/vpc.toml", self.folder.path().display());
            let sentence = refused.to_string();
            let rest = sentence.strip_prefix(&prefix).expect("names the file");
            rest.to_owned()
        }
    }

    const UPLINK: &str = "[[uplink]]\nname = \"blue\"\ninterface = \"eth1\"\n";

    #[test]
    fn another_valid_file_is_taken() {
        let file = File::new("");
        let before = file.file.load().expect("valid");
        file.write(UPLINK);
        let after = file.file.reload(&before).expect("valid");
        assert_eq!((before.uplinks.len(), after.uplinks.len()), (0, 1));
    }

    #[test]
    fn a_bad_file_is_refused_by_the_sentence_of_the_check() {
        let file = File::new(UPLINK);
        let before = file.file.load().expect("valid");
        file.write("profile = \"x\"");
        let sentence = file.refusal(&before);
        assert!(
            sentence.starts_with(": profile = \"x\" is not a profile"),
            "{sentence}"
        );
        file.write("[[uplink]");
        let sentence = file.refusal(&before);
        assert!(sentence.starts_with(": line 1, column "), "{sentence}");
        std::fs::remove_file(&file.file.path).expect("removed");
        let sentence = file.refusal(&before);
        assert!(sentence.starts_with(" cannot be read ("), "{sentence}");
    }

    #[test]
    fn what_the_agent_was_started_with_stays() {
        let file = File::new("");
        let before = file.file.load().expect("valid");
        for (text, expected) in [
            (
                "pin_dir = \"/sys/fs/bpf/other\"",
                ": pin_dir = \"/sys/fs/bpf/other\" cannot be taken by a running agent, which has \
                 \"/sys/fs/bpf/vpc\": restore it, or stop the agent, `vpc teardown` and start it \
                 again",
            ),
            (
                "socket = \"/run/other.sock\"",
                ": socket = \"/run/other.sock\" cannot be taken by a running agent, which has \
                 \"/run/vpc/agent.sock\": restore it, or restart the agent",
            ),
            (
                "[limits]\nflows = 512",
                ": limits: flows = 512 cannot be taken by a running agent, which has 524288: \
                 restore it, or stop the agent, `vpc teardown` and start it again",
            ),
        ] {
            file.write(text);
            assert_eq!(file.refusal(&before), expected);
        }
    }

    #[test]
    fn a_socket_of_the_command_line_replaces_the_files() {
        let File { folder, file } = File::new("");
        let socket = Path::new("/run/chosen.sock");
        let file = ConfigFile::new(&file.path, Some(socket));
        let before = file.load().expect("valid");
        assert_eq!(before.socket, socket);
        std::fs::write(&file.path, "socket = \"/run/other.sock\"").expect("written");
        assert_eq!(file.reload(&before).expect("no change").socket, socket);
        drop(folder);
    }

    #[test]
    fn a_relative_path_is_kept_as_an_absolute_one() {
        assert!(
            ConfigFile::new(Path::new("vpc.toml"), None)
                .path
                .is_absolute()
        );
    }
}
