//! The agent as a child process, and its socket.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output},
    sync::OnceLock,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use vpc_user::model::{Request, Response};

use crate::{netns::Namespace, wait};

/// How long one answer may take, the first one too: on an emulated machine a verifier takes a
/// minute over the programs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// The `vpc` binary: `VPC_BIN` if set, else the one built beside the running executable.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program("vpc", "VPC_BIN"))
}

/// The `vpc-cni` binary: `VPC_CNI_BIN` if set, else the one built beside the running
/// executable.
pub fn cni_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| program("vpc-cni", "VPC_CNI_BIN"))
}

/// Under cargo a program is brought up to date first, because cargo does not build another
/// package's binary for a test.
fn program(name: &str, variable: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let me = std::env::current_exe().expect("path of the running executable");
    let folder = me.parent().expect("an executable lies in a folder");
    let folder = if folder.ends_with("deps") {
        folder.join("..")
    } else {
        folder.into()
    };
    let path = folder.join(name);
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        // What cargo says of this package is not said of others: build scripts that listen to
        // it would run again, and half of everything be built anew.
        for (name, _) in std::env::vars_os() {
            let said = name.to_string_lossy();
            if said.starts_with("CARGO_PKG_") || said.starts_with("CARGO_MANIFEST_") {
                build.env_remove(&name);
            }
        }
        build.args(["build", "--quiet", "--package", "vpc-user", "--bin", name]);
        if fs::canonicalize(&folder).is_ok_and(|folder| folder.ends_with("release")) {
            build.arg("--release");
        }
        let status = build.status().expect("run cargo");
        assert!(status.success(), "`{name}` does not build");
    }
    assert!(
        path.exists(),
        "{path:?} is missing: run `cargo build --bin {name}` or set {variable}"
    );
    path
}

/// A running agent, killed when dropped.
#[derive(Debug)]
pub struct Agent {
    child: Child,
}

impl Agent {
    /// Starts `vpc agent --config <config>` with further arguments inside `host`
    /// and appends what it writes to `log`. It may still be starting.
    pub fn spawn(host: &Namespace, config: &Path, log: &Path, arguments: &[&str]) -> Self {
        Self::spawn_with(host, config, log, arguments, &[])
    }

    /// As [`Agent::spawn`], with variables in its environment.
    pub fn spawn_with(
        host: &Namespace,
        config: &Path,
        log: &Path,
        arguments: &[&str],
        variables: &[(String, String)],
    ) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("open the log");
        let child = host
            .command(binary())
            .args(["agent", "--config"])
            .arg(config)
            .args(arguments)
            .envs(variables.iter().cloned())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn()
            .expect("start the agent");
        Self { child }
    }

    /// Waits until it answers; the error is what went wrong.
    pub fn wait_ready(&mut self, socket: &Path) -> Result<(), String> {
        let mut outcome = Err("the agent does not answer on its socket".to_owned());
        wait::eventually(ANSWER_TIMEOUT, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                outcome = Err(format!("the agent ended with {status}"));
                return true;
            }
            if matches!(request(socket, &Request::Status), Ok(Response::Status(_))) {
                outcome = Ok(());
            }
            outcome.is_ok()
        });
        outcome
    }

    /// Sends a signal and waits for the end.
    pub fn stop(mut self, signal: Signal) -> ExitStatus {
        self.signal(signal);
        let mut status = None;
        wait::eventually(ANSWER_TIMEOUT, || {
            status = self.child.try_wait().expect("wait for the agent");
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("the agent goes on after {signal}"))
    }

    /// How it ended, if it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("wait for the agent")
    }

    /// Waits for the end of an agent that is expected to refuse its work.
    pub fn wait_end(mut self) -> ExitStatus {
        wait::find(ANSWER_TIMEOUT, || self.has_ended())
            .expect("the agent goes on although it should refuse")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed());
        kill(pid, signal).expect("signal the agent");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of `vpc` against an agent's socket.
pub fn command(socket: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).env("VPC_SOCKET", socket);
    command.output().expect("run `vpc`")
}

/// Asks the agent.
pub fn request(socket: &Path, request: &Request) -> Result<Response, String> {
    let exchange = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut line = serde_json::to_string(request)?;
        line.push('\n');
        stream.write_all(line.as_bytes())?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| format!("{}: {error}", socket.display()))?;
    serde_json::from_str(&answer).map_err(|error| format!("{error} in the answer {answer:?}"))
}
