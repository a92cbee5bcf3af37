//! flatbus: one binary, many units. This file installs the TLS provider and hands over to the command line.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
