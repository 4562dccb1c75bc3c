//! The binary `vpc-cni`; everything it does is in [`vpc_user::cni`].

fn main() -> std::process::ExitCode {
    vpc_user::cni::main()
}
