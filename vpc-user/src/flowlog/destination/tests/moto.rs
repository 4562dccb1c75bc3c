//! moto and boto3, of the environment that `cargo xtask setup` makes.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::de::DeserializeOwned;

use crate::flowlog::python::{self, python};

/// Ends with the value.
pub struct Moto {
    child: Child,
    pub port: u16,
}

impl Moto {
    /// One for all tests that need none of their own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(0, &[]))
    }

    /// At any port, or again at that one, with what its environment shall be.
    pub fn start(port: u16, environment: &[(&str, &str)]) -> Self {
        let script = include_str!("moto_server.py");
        Self::run(script, &port.to_string(), environment)
    }

    /// Not moto at all, but a server that offers TLS with a certificate of its own.
    pub fn untrusted() -> Self {
        Self::run(include_str!("tls_server.py"), "", &[])
    }

    fn run(script: &str, argument: &str, environment: &[(&str, &str)]) -> Self {
        let mut child = Command::new(python())
            .args(["-c", script, argument])
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        let port = said.trim().parse().unwrap();
        Self { child, port }
    }

    pub fn make_bucket(&self, name: &str) {
        self.ask::<()>(&["bucket", name]);
    }

    pub fn objects(&self, bucket: &str) -> BTreeMap<String, Vec<u8>> {
        let objects: BTreeMap<String, String> = self.ask(&["objects", bucket]);
        let read = |text: String| BASE64_STANDARD.decode(text).unwrap();
        objects
            .into_iter()
            .map(|(key, text)| (key, read(text)))
            .collect()
    }

    /// By stream, in order.
    pub fn events(&self, group: &str) -> BTreeMap<String, Vec<(u64, String)>> {
        self.ask(&["events", group])
    }

    pub fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> T {
        let port = self.port.to_string();
        let arguments: Vec<&str> = [port.as_str()]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        let said = python::says(include_str!("moto_client.py"), &arguments);
        serde_json::from_str(&said).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
