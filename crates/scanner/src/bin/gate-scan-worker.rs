//! The child process of the built-in scanner as a program of its own, for hosts that do not want the whole `gate`.

use std::process::ExitCode;

fn main() -> ExitCode {
    gate_scanner::worker::child_main(std::env::args().skip(1))
}
