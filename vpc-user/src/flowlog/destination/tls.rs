//! Which implementation of TLS' arithmetic is used.

/// Names ring as it, unless the process has named another: HTTP clients ask for one. Once is
/// enough; more do no harm.
pub fn provide() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error says that another thread was quicker.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
