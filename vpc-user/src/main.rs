//! The binary `vpc`; everything it does is in [`vpc_user::cli`].

fn main() -> std::process::ExitCode {
    vpc_user::cli::main()
}
