//! Threads for queries alone: a join that computes for a minute must not keep a source's answer, a
//! deadline or Ctrl-C waiting.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::{
    execution::TaskContext,
    physical_plan::{ExecutionPlan, execute_stream},
};
use futures::{StreamExt, stream::BoxStream};
use lagar_flow::{Error, Result, codes};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::JoinHandle,
};

use crate::errors;

/// Batches that may wait for whoever reads them.
const BATCHES_WAITING_MAX: usize = 1;
/// Nested SQL recurses deeply; tokio's 2 MiB are too little in a debug build.
const STACK_BYTES: usize = 16 << 20;

pub(crate) struct Workers(Option<Runtime>);

impl Workers {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| {
            Error::new(codes::MEMORY, "threads for queries cannot be started").caused_by(&error)
        })?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `plan` on these threads. Dropping the stream stops it at its next pause.
    pub(crate) fn run(
        self: &Arc<Self>,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let Some(runtime) = &self.0 else { return Err(Error::bug("the threads for queries are gone")) };
        let (sender, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let task = runtime.spawn(async move {
            let mut rows = match execute_stream(plan, context) {
                Ok(rows) => rows,
                Err(error) => {
                    let _ = sender.send(Err(errors::execution(&error))).await;
                    return;
                }
            };
            while let Some(batch) = rows.next().await {
                if sender.send(batch.map_err(|error| errors::execution(&error))).await.is_err() {
                    return;
                }
            }
        });
        let running = Running { batches, task: Some(task), _workers: self.clone() };
        Ok(futures::stream::unfold(running, Running::next).boxed())
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // A runtime must not wait for its threads inside another one.
            runtime.shutdown_background();
        }
    }
}

struct Running {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    task: Option<JoinHandle<()>>,
    _workers: Arc<Workers>,
}

impl Running {
    async fn next(mut self) -> Option<(Result<RecordBatch>, Self)> {
        if let Some(batch) = self.batches.recv().await {
            return Some((batch, self));
        }
        // The end, unless the task did not come to it.
        match self.task.take()?.await {
            Ok(()) => None,
            Err(error) => {
                let bug = Error::bug("a query panicked").caused_by(&error).hint("please report this");
                Some((Err(bug), self))
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
