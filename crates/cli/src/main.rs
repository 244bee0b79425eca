//! The `lagar` binary: parse → run one command → exit code. Only this crate prints and exits.

#[cfg(not(target_env = "msvc"))]
mod allocator;
mod args;
mod commands;
mod output;
mod signals;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(not(target_env = "msvc"))]
    lagar_flow::memory::on_give_back(allocator::give_back);
    let args = match args::Args::of_process() {
        Ok(args) => args,
        Err(error) => {
            let json = std::env::args_os().any(|arg| arg == "--json");
            return ExitCode::from(output::no_command(&error, json));
        }
    };
    output::init_logging(&args.global);
    output::clean_panics(&args.global.secrets);
    let json = args.global.json;
    let secrets = args.global.secrets.clone();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // Planning recurses deeply on nested SQL; the default 2 MiB is too little in a debug build.
        .thread_stack_size(16 << 20)
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start worker threads: {error}");
            return ExitCode::from(output::EXIT_BUG);
        }
    };
    let exit = match runtime.block_on(async move { tokio::spawn(commands::run(args)).await }) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => output::fail(&error.without(&secrets), json),
        Err(panic) => output::fail(
            &lagar_flow::Error::bug("a command panicked")
                .caused_by(&panic)
                .hint("please report this")
                .without(&secrets),
            json,
        ),
    };
    // A blocked worker (a source that ignores its deadline) must not keep a finished command alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    ExitCode::from(exit)
}
