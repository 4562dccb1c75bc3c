//! Errors with their causes, in one line.

use std::{error::Error, fmt};

/// Shows an error and what caused it, each part once: aya's errors leave the
/// kernel's answer to their source.
pub struct Cause<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = self.0.to_string();
        f.write_str(&shown)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !shown.contains(&text) {
                write!(f, ": {text}")?;
                shown = text;
            }
            source = cause.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the call failed")]
    struct Call(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Wrapped(Call);

    #[test]
    fn the_kernels_answer_is_shown_once() {
        let error = Wrapped(Call(std::io::Error::from_raw_os_error(libc::ENOLINK)));
        let text = Cause(&error).to_string();
        assert!(
            text.starts_with("the call failed: Link has been severed"),
            "{text}"
        );
        assert_eq!(text.matches("severed").count(), 1);
    }
}
