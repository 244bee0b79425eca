//! The first Ctrl-C or SIGTERM asks the command to stop in order, the second ends the process at once.

use std::{
    io,
    sync::atomic::{AtomicI32, Ordering},
    thread,
    time::Duration,
};

use lagar_flow::{Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code after an orderly stop; 0 while nobody asked.
static STOPPED_BY: AtomicI32 = AtomicI32::new(0);

/// How long the command may take to stop in order. What does not look at the token (a disk that hangs)
/// is not waited for.
const GRACE: Duration = Duration::from_secs(8);

/// A token that is cancelled by the first signal.
///
/// Signals have a thread and a runtime of their own: however busy or stuck the command's threads are,
/// the next signal is heard.
///
/// # Errors
/// The system does not let us watch them.
pub fn stop_on_signal() -> Result<CancellationToken> {
    watching().map_err(|error| Error::bug("signals cannot be watched").caused_by(&error))
}

fn watching() -> io::Result<CancellationToken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (interrupt, terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let token = CancellationToken::new();
    let stop = token.clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || runtime.block_on(watch(interrupt, terminate, stop)))?;
    Ok(token)
}

async fn watch(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    let asked = next(&mut interrupt, &mut terminate).await;
    STOPPED_BY.store(asked, Ordering::SeqCst);
    eprintln!("stopping; once more to stop at once");
    stop.cancel();
    let code = match tokio::time::timeout(GRACE, next(&mut interrupt, &mut terminate)).await {
        Ok(again) => again,
        Err(_) => {
            eprintln!("not stopped after {} s: stopping at once", GRACE.as_secs());
            asked
        }
    };
    // Nothing is visible before its commit, so an end at any moment is safe.
    std::process::exit(code);
}

/// The exit code that the next signal asks for.
async fn next(interrupt: &mut Signal, terminate: &mut Signal) -> i32 {
    tokio::select! {
        _ = interrupt.recv() => 130,
        _ = terminate.recv() => 143,
    }
}

/// 130 or 143 if a signal asked for the stop.
pub fn stopped_exit_code() -> Option<u8> {
    match STOPPED_BY.load(Ordering::SeqCst) {
        0 => None,
        code => u8::try_from(code).ok(),
    }
}
