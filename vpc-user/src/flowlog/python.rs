//! The Python that has others' readers of flow logs, and servers to try deliveries on.

use std::path::PathBuf;

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
