//! Running other programs. Whatever fails is named by its full command line.

use std::{
    convert::Infallible,
    io::{self, Read, Write},
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, anyhow, ensure};

/// Runs to completion with this process' own input and output.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    succeeded(command, status)
}

/// Runs and returns what the program wrote to stdout.
pub fn output(command: &mut Command) -> Result<String> {
    command.stderr(Stdio::inherit());
    let output = command
        .output()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    succeeded(command, output.status)?;
    String::from_utf8(output.stdout).with_context(|| format!("{} wrote no text", shown(command)))
}

/// Becomes the program, so that signals from the terminal reach it directly.
/// Returns only if that fails.
pub fn replace(mut command: Command) -> Result<Infallible> {
    let cause = command.exec();
    Err(anyhow!(cause).context(format!("cannot start {}", shown(&command))))
}

/// Runs to completion, passes stdout through as it comes and shows each
/// finished line to `look`.
pub fn watch_stdout(command: &mut Command, look: impl FnMut(&str)) -> Result<ExitStatus> {
    command.stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let pipe = child.stdout.take().context("stdout is piped")?;
    pass_through(pipe, io::stdout(), look)?;
    Ok(child.wait()?)
}

/// The same for stderr.
pub fn watch_stderr(command: &mut Command, look: impl FnMut(&str)) -> Result<ExitStatus> {
    command.stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {}", shown(command)))?;
    let pipe = child.stderr.take().context("stderr is piped")?;
    pass_through(pipe, io::stderr(), look)?;
    Ok(child.wait()?)
}

pub fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    ensure!(status.success(), "{} failed ({status})", shown(command));
    Ok(())
}

/// The command as one would type it, between backquotes.
pub fn shown(command: &Command) -> String {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| quoted(&word.to_string_lossy()))
        .collect();
    format!("`{}`", words.join(" "))
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Copies bytes at once, since a test names itself before it ends its line.
fn pass_through(
    mut from: impl Read,
    mut to: impl Write,
    mut look: impl FnMut(&str),
) -> io::Result<()> {
    let mut chunk = [0; 4096];
    let mut line = Vec::new();
    loop {
        let len = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(&chunk[..len])?;
        to.flush()?;
        for &byte in &chunk[..len] {
            if byte == b'\n' {
                look(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
    if !line.is_empty() {
        look(&String::from_utf8_lossy(&line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_named_as_typed() {
        let mut command = Command::new("false");
        command.args(["--flag", "two words", "it's"]);
        let error = run(&mut command).unwrap_err().to_string();
        assert_eq!(
            error,
            r"`false --flag 'two words' 'it'\''s'` failed (exit status: 1)"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(&mut Command::new("no-such-program"))
            .unwrap_err()
            .to_string();
        assert_eq!(error, "cannot start `no-such-program`");
    }

    #[test]
    fn what_passes_through_is_whole_and_cut_into_lines() {
        let mut copy = Vec::new();
        let mut lines = Vec::new();
        pass_through(&b"one\ntwo\n\nend"[..], &mut copy, |line| {
            lines.push(line.to_owned())
        })
        .unwrap();
        assert_eq!(copy, b"one\ntwo\n\nend");
        assert_eq!(lines, ["one", "two", "", "end"]);
    }
}
