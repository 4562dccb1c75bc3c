//! The Python that has others' readers of flow logs, and servers to try deliveries on.

use std::{ffi::OsStr, path::PathBuf, process::Command};

/// The interpreter of the environment that `cargo xtask setup` makes, or `VPC_TEST_PYTHON`.
pub fn python() -> PathBuf {
    let python = std::env::var_os("VPC_TEST_PYTHON").map_or_else(
        || {
            concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/tools/python/bin/python"
            )
            .into()
        },
        PathBuf::from,
    );
    assert!(
        python.exists(),
        "{} is missing: run `cargo xtask setup`",
        python.display()
    );
    python
}

/// What a script writes to standard output.
pub fn says(script: &str, arguments: &[impl AsRef<OsStr>]) -> String {
    let output = Command::new(python())
        .args(["-c", script])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
