//! The operator's tool.

fn main() -> std::process::ExitCode {
    datakey::cli::main()
}
