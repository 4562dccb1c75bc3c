//! Where credentials come from, and standard output: each in a process of its own, since
//! environment and output belong to a process.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, ChildStdout, Command, Stdio},
};

use super::{
    super::{AwsOptions, CloudWatch, Destination, ObjectOptions, Objects, Stdout},
    SHORT, parcel,
    server::{Answer, Request, Server},
};

/// Says which part a process plays.
const PART: &str = "VPC_TEST_DESTINATION";

/// What delivers in a process of its own; nothing in the tests' own.
#[tokio::test]
async fn a_part_that_another_process_plays() {
    let Ok(part) = std::env::var(PART) else {
        return;
    };
    let aws = AwsOptions {
        timeout: std::time::Duration::from_secs(20),
        ..AwsOptions::default()
    };
    let mut destination = match part.as_str() {
        "stdout" => {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            Destination::Stdout(Stdout)
        }
        "cloudwatch" => Destination::CloudWatch(CloudWatch::new("flows".to_owned(), aws)),
        url => {
            let options = ObjectOptions {
                aws,
                settings: Vec::new(),
            };
            Destination::Objects(Objects::new(url, options).unwrap())
        }
    };
    match destination.deliver(&parcel("a", "1 s one\n2 s two")).await {
        Ok(()) => eprintln!("delivered"),
        Err(error) => eprintln!("{}: {error}", error.kind()),
    }
}

/// Another process of this program, with nothing of AWS in its environment but that.
fn another(part: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = concat!(module_path!(), "::a_part_that_another_process_plays");
    let (_, test) = test.split_once("::").unwrap();
    command.args([test, "--exact", "--nocapture", "--quiet"]);
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env(PART, part)
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .envs(environment.iter().copied());
    command
}

async fn said(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap());
    String::from_utf8(output.await.unwrap().stderr).unwrap()
}

/// Both services, and who signed what they got.
async fn signers(environment: &[(&str, &str)]) -> Vec<String> {
    let server = Server::start(|_, _| Answer::Http(200, "{}".to_owned())).await;
    let endpoint = format!("http://127.0.0.1:{}", server.port);
    let mut environment = environment.to_vec();
    environment.push(("AWS_ENDPOINT_URL", &endpoint));
    for part in ["s3://bucket", "cloudwatch"] {
        let said = said(another(part, &environment)).await;
        assert!(said.contains("delivered"), "{part}: {said}");
    }
    server.seen().iter().map(signer).collect()
}

/// Whose key, of which region.
fn signer(request: &Request) -> String {
    let signature = request.header("authorization").unwrap();
    let (_, scope) = signature.split_once("Credential=").unwrap();
    let mut words = scope.split('/');
    let (id, region) = (words.next().unwrap(), words.nth(1).unwrap());
    let token = request.header("x-amz-security-token").unwrap_or("none");
    format!("{id} {region} {token}")
}

#[tokio::test]
async fn credentials_come_from_the_environment() {
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_SESSION_TOKEN", "token"),
    ];
    assert_eq!(signers(&environment).await, ["AKIAENV eu-west-1 token"; 2]);
}

#[tokio::test]
async fn credentials_come_from_a_profile() {
    let scratch = tempfile::tempdir().unwrap();
    let (config, credentials) = (
        scratch.path().join("config"),
        scratch.path().join("credentials"),
    );
    fs::write(&config, "[profile flows]\nregion = eu-west-2\n").unwrap();
    let keys = "[flows]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret\n";
    fs::write(&credentials, keys).unwrap();
    let environment = [
        ("AWS_PROFILE", "flows"),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
    ];
    assert_eq!(
        signers(&environment).await,
        ["AKIAPROFILE eu-west-2 none"; 2]
    );
}

#[tokio::test]
async fn credentials_come_from_a_process() {
    let scratch = tempfile::tempdir().unwrap();
    let (config, output) = (scratch.path().join("config"), scratch.path().join("output"));
    let keys = r#"{"Version": 1, "AccessKeyId": "AKIAPROCESS", "SecretAccessKey": "s"}"#;
    fs::write(&output, keys).unwrap();
    let profile = format!("[default]\ncredential_process = cat {}\n", output.display());
    fs::write(&config, profile).unwrap();
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_CONFIG_FILE", config.to_str().unwrap()),
    ];
    assert_eq!(
        signers(&environment).await,
        ["AKIAPROCESS eu-west-1 none"; 2]
    );
}

const KEYS: &str = r#"{"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z",
    "AccessKeyId": "AKIAROLE", "SecretAccessKey": "secret", "Token": "token",
    "Expiration": "2999-01-01T00:00:00Z"}"#;

#[tokio::test]
async fn credentials_come_from_a_task() {
    let server = Server::start(|_, _| Answer::Http(200, KEYS.to_owned())).await;
    let uri = format!("http://127.0.0.1:{}/role", server.port);
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
    ];
    assert_eq!(signers(&environment).await, ["AKIAROLE eu-west-1 token"; 2]);
}

#[tokio::test]
async fn credentials_and_region_come_from_an_instance() {
    let instance = Server::start(|request, _| {
        let path = request.line.split(' ').nth(1).unwrap();
        let text = match path.trim_end_matches('/') {
            "/latest/meta-data/placement/region" => "eu-west-3",
            "/latest/meta-data/iam/security-credentials" => "role",
            "/latest/meta-data/iam/security-credentials/role" => KEYS,
            "/latest/api/token" => return token(),
            _ => return Answer::Http(404, String::new()),
        };
        Answer::Http(200, text.to_owned())
    })
    .await;
    let endpoint = format!("http://127.0.0.1:{}", instance.port);
    let environment = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str())];
    assert_eq!(signers(&environment).await, ["AKIAROLE eu-west-3 token"; 2]);
}

fn token() -> Answer {
    Answer::Raw(
        b"HTTP/1.1 200 OK\r\nx-aws-ec2-metadata-token-ttl-seconds: 21600\r\n\
          content-length: 5\r\nconnection: close\r\n\r\ntoken",
    )
}

#[tokio::test]
async fn a_host_without_credentials_says_so_soon() {
    let silent = Server::start(|_, _| Answer::Silence).await;
    let endpoint = format!("http://127.0.0.1:{}", silent.port);
    let environment = [
        ("AWS_REGION", "eu-west-1"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", endpoint.as_str()),
    ];
    for part in ["s3://bucket", "cloudwatch"] {
        let said = said(another(part, &environment)).await;
        assert!(said.contains("Access error: "), "{said}");
        assert!(said.contains("(no AWS credentials"), "{said}");
        assert!(said.contains("set AWS_ACCESS_KEY_ID"), "{said}");
    }
}

#[tokio::test]
async fn a_host_without_a_region_says_so() {
    let environment = [
        ("AWS_ACCESS_KEY_ID", "AKIAENV"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    for part in ["s3://bucket", "cloudwatch"] {
        let said = said(another(part, &environment)).await;
        assert!(said.contains("(no AWS region): set AWS_REGION"), "{said}");
    }
}

/// Starts one that waits for a word before it delivers: the tests' own runner writes too.
fn waiting() -> Child {
    let mut command = another("stdout", &[]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// Its output up to where the runner is done.
fn runner_output(child: &mut Child) -> BufReader<ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("running 1 test") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0);
    }
    output
}

#[test]
fn lines_go_to_standard_output() {
    let mut child = waiting();
    let mut output = runner_output(&mut child);
    drop(child.stdin.take());
    let mut lines = String::new();
    output.read_to_string(&mut lines).unwrap();
    assert!(lines.starts_with("1 s one\n2 s two\n"), "{lines:?}");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_broken_pipe_is_an_error() {
    let mut child = waiting();
    drop(runner_output(&mut child));
    drop(child.stdin.take());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let sentence = "Unknown error: standard output cannot be written (Broken pipe";
    assert!(said.contains(sentence), "{said}");
}

#[test]
fn a_secret_is_not_shown() {
    let options = super::options(1);
    let options = AwsOptions {
        key: Some(super::key("AKIA", "hidden")),
        timeout: SHORT,
        ..options
    };
    assert!(!format!("{options:?}").contains("hidden"));
}
