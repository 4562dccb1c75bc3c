//! What `vpc check-kernel` says.

use serde::{Deserialize, Serialize};

/// What a kernel makes of one program.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ProgramCheck {
    /// Its name.
    pub program: String,
    /// Instructions that the verifier looked at, of a million allowed; 0 if refused.
    pub instructions: u32,
    /// Bytes of the largest frame of the program and its functions; a chain of calls may
    /// have 512. Not every kernel tells.
    pub frame_bytes: Option<u32>,
    /// How long the load took, verifier and translation to machine code, in µs.
    pub load_us: u64,
    /// Why the kernel refused it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
}
