//! The first Ctrl-C or SIGTERM asks the command to stop in order, the second ends the process at once.

use std::sync::atomic::{AtomicI32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after an orderly stop; 0 while nobody asked.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// A token that is cancelled by the first signal.
pub fn stop_on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = token.clone();
    tokio::spawn(async move {
        loop {
            let code = tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
            };
            if STOPPED_BY.swap(code, Ordering::SeqCst) != 0 {
                // Nothing is visible before its commit, so an end at any moment is safe.
                std::process::exit(code);
            }
            eprintln!("stopping; once more to stop at once");
            stop.cancel();
        }
    });
    Ok(token)
}

/// 130 or 143 if a signal asked for the stop.
pub fn stopped_exit_code() -> Option<u8> {
    match STOPPED_BY.load(Ordering::SeqCst) {
        0 => None,
        code => u8::try_from(code).ok(),
    }
}
