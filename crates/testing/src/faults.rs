//! A store whose calls go wrong as a [`Plan`] says.

use std::{
    collections::HashMap,
    fmt,
    io::{self, Write},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};
use tokio::sync::watch;

use crate::plan::{Fault, Op, Plan, mix};

/// A stale list does not show what so many calls before it made.
const STALE_CALLS: u64 = 8;

/// An [`ObjectStore`] around another one, with faults. Clones share everything.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    plan: Plan,
    state: Arc<Mutex<State>>,
    crashed: watch::Sender<bool>,
    /// Of a store that is a folder.
    folder: Option<PathBuf>,
    meanwhile: Arc<Mutex<Option<BoxFuture<'static, ()>>>>,
}

#[derive(Default)]
struct State {
    /// All calls, also those that the plan does not look at.
    all: u64,
    /// Those that the plan looks at; their number is what it goes by.
    calls: u64,
    log: Vec<String>,
    hits: u64,
    /// By object, the call that made it.
    made: HashMap<Path, u64>,
}

/// One call that is hit.
struct Hit {
    call: u64,
    fault: Fault,
}

impl Hit {
    /// The answer that the caller gets instead of the real one.
    fn error(&self, op: Op, path: &str) -> Error {
        let Hit { call, fault } = self;
        let text = format!("CALL={call} {op:?} {path}: {fault:?}");
        let generic = |source| Error::Generic { store: "faults", source };
        match fault {
            Fault::NoSpace => generic(io::Error::new(io::ErrorKind::StorageFull, text).into()),
            Fault::Io => generic(io::Error::other(format!("{text}: Input/output error (os error 5)")).into()),
            Fault::Status(status) => self.status(*status, op, path, text),
            _ => generic(io::Error::new(io::ErrorKind::ConnectionReset, text).into()),
        }
    }

    fn status(&self, status: u16, op: Op, path: &str, text: String) -> Error {
        let (path, source) = (path.to_owned(), text.clone().into());
        match status {
            401 => Error::Unauthenticated { path, source },
            403 => Error::PermissionDenied { path, source },
            404 => Error::NotFound { path, source },
            409 => Error::AlreadyExists { path, source },
            412 if op == Op::Put => Error::AlreadyExists { path, source },
            412 => Error::Precondition { path, source },
            _ => Error::Generic {
                store: "S3",
                source: format!("Server returned non-2xx status code: {status}: {text}").into(),
            },
        }
    }
}

impl FaultStore {
    pub fn new(inner: Arc<dyn ObjectStore>, plan: Plan) -> Self {
        Self {
            inner,
            plan,
            state: Arc::default(),
            crashed: watch::channel(false).0,
            folder: None,
            meanwhile: Arc::default(),
        }
    }

    /// Says in which folder the inner store keeps its objects, so that a write that is cut in half
    /// leaves its half there.
    pub fn in_folder(mut self, folder: PathBuf) -> Self {
        self.folder = Some(folder);
        self
    }

    /// What happens at [`Fault::Meanwhile`], once.
    pub fn meanwhile(self, what: impl Future<Output = ()> + Send + 'static) -> Self {
        *self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner) = Some(what.boxed());
        self
    }

    /// Whether any call was hit.
    pub fn struck(&self) -> bool {
        self.state().hits > 0
    }

    /// How many calls were hit.
    pub fn hits(&self) -> u64 {
        self.state().hits
    }

    /// How many calls the plan looked at.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// What was called and what became of it, to be shown when a test fails.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Waits until the process is gone, as the plan says.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.subscribe();
        // The sender lives as long as `self`.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call. Fails when the process is gone already.
    fn begin(&self, op: Op, path: &str) -> Result<Option<Hit>> {
        let mut state = self.state();
        state.all += 1;
        if *self.crashed.borrow() {
            let hit = Hit { call: state.all, fault: Fault::Before };
            return Err(hit.error(op, path));
        }
        if !self.plan.looks_at(op, path) {
            return Ok(None);
        }
        state.calls += 1;
        let call = state.calls;
        let fault = self.plan.fault(call);
        let what = fault.map_or(String::new(), |fault| format!(" <- {fault:?}"));
        state.log.push(format!("{call} {op:?} {path}{what}"));
        state.hits += u64::from(fault.is_some());
        Ok(fault.map(|fault| Hit { call, fault }))
    }

    /// The answer to a call that was hit, and the end of the process if that is the plan.
    fn lost(&self, hit: &Hit, op: Op, path: &str) -> Error {
        self.end();
        hit.error(op, path)
    }

    fn end(&self) {
        if self.plan.crashes() {
            self.crashed.send_replace(true);
        }
    }

    /// A call of which no half can be done.
    async fn call<T>(&self, op: Op, path: &Path, effect: impl Future<Output = Result<T>>) -> Result<T> {
        match self.begin(op, path.as_ref())? {
            None => effect.await,
            Some(hit) => self.hit(&hit, op, path.as_ref(), effect).await,
        }
    }

    async fn hit<T>(
        &self,
        hit: &Hit,
        op: Op,
        path: &str,
        effect: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match hit.fault {
            Fault::Late(milliseconds) => tokio::time::sleep(Duration::from_millis(milliseconds)).await,
            Fault::Meanwhile => {
                let what = self.meanwhile.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(what) = what {
                    what.await;
                }
            }
            Fault::Stale | Fault::WrongBit => {}
            Fault::After => {
                let done = effect.await;
                let lost = self.lost(hit, op, path);
                return done.and(Err(lost));
            }
            Fault::Before | Fault::Half | Fault::Status(_) | Fault::NoSpace | Fault::Io => {
                return Err(self.lost(hit, op, path));
            }
        }
        let done = effect.await;
        self.end();
        done
    }

    fn note_made(&self, path: &Path) {
        let mut state = self.state();
        let calls = state.all;
        state.made.insert(path.clone(), calls);
    }

    /// What a writer that was killed leaves: a file without its second half, under a temporary name.
    fn leave_half(&self, location: &Path, payload: &PutPayload) {
        let Some(folder) = &self.folder else { return };
        let whole: Vec<u8> = payload.iter().flat_map(|bytes| bytes.iter().copied()).collect();
        let mut path = folder.clone();
        path.extend(location.parts().map(|part| part.as_ref().to_owned()));
        path.set_file_name(format!(".lagar-tmp-torn-{}", self.state().all));
        let written = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| std::fs::File::create(&path)?.write_all(&whole[..whole.len() / 2]));
        if let Err(error) = written {
            panic!("{}: {error}", path.display());
        }
    }

    async fn get_some(&self, location: &Path, options: GetOptions, hit: Hit) -> Result<GetResult> {
        let head = options.head;
        let effect = self.inner.get_opts(location, options);
        if head || !matches!(hit.fault, Fault::Half | Fault::WrongBit) {
            return self.hit(&hit, Op::Get, location.as_ref(), effect).await;
        }
        let found = effect.await?;
        let (meta, range, attributes) = (found.meta.clone(), found.range.clone(), found.attributes.clone());
        let bytes = found.bytes().await?;
        let pieces = match hit.fault {
            Fault::WrongBit => vec![Ok(with_wrong_bit(&bytes, hit.call))],
            _ => vec![Ok(bytes.slice(..bytes.len() / 2)), Err(hit.error(Op::Get, location.as_ref()))],
        };
        self.end();
        let payload = GetResultPayload::Stream(stream::iter(pieces).boxed());
        Ok(GetResult { payload, meta, range, attributes })
    }

    async fn list_some(
        &self,
        prefix: Option<Path>,
        offset: Option<Path>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let items = match &offset {
            Some(offset) => self.inner.list_with_offset(prefix.as_ref(), offset),
            None => self.inner.list(prefix.as_ref()),
        };
        let shown = prefix.as_ref().map_or("", Path::as_ref);
        let failed = |error| stream::iter([Err(error)]).boxed();
        let hit = match self.begin(Op::List, shown) {
            Ok(None) => return items,
            Ok(Some(hit)) => hit,
            Err(error) => return failed(error),
        };
        match hit.fault {
            Fault::Half => {
                let all: Vec<_> = items.collect().await;
                let half = all.len() / 2;
                let cut = [Err(self.lost(&hit, Op::List, shown))];
                stream::iter(all.into_iter().take(half).chain(cut)).boxed()
            }
            Fault::Stale => {
                let state = self.state();
                let recent = state.all.saturating_sub(STALE_CALLS);
                let hidden: Vec<Path> = state
                    .made
                    .iter()
                    .filter(|(_, call)| **call >= recent)
                    .map(|(path, _)| path.clone())
                    .collect();
                items.try_filter(move |meta| std::future::ready(!hidden.contains(&meta.location))).boxed()
            }
            _ => match self.hit(&hit, Op::List, shown, async { Ok(()) }).await {
                Ok(()) => items,
                Err(error) => failed(error),
            },
        }
    }

    async fn delete_some(&self, locations: BoxStream<'static, Result<Path>>) -> Vec<Result<Path>> {
        let locations: Vec<_> = locations.collect().await;
        let shown = locations.iter().flatten().next().map_or(String::new(), Path::to_string);
        let hit = match self.begin(Op::Delete, &shown) {
            Ok(hit) => hit,
            Err(error) => return vec![Err(error)],
        };
        let delete = |some: Vec<Result<Path>>| {
            self.inner.delete_stream(stream::iter(some).boxed()).collect::<Vec<_>>()
        };
        let Some(hit) = hit else { return delete(locations).await };
        if hit.fault == Fault::Half {
            let half = locations.len() / 2;
            let mut deleted = delete(locations.into_iter().take(half).collect()).await;
            deleted.push(Err(self.lost(&hit, Op::Delete, &shown)));
            return deleted;
        }
        match self.hit(&hit, Op::Delete, &shown, async { Ok(delete(locations).await) }).await {
            Ok(deleted) => deleted,
            Err(error) => vec![Err(error)],
        }
    }
}

/// `bytes` with one bit turned over, by `seed`.
pub fn with_wrong_bit(bytes: &[u8], seed: u64) -> Bytes {
    let mut bytes = bytes.to_vec();
    if !bytes.is_empty() {
        let place = usize::try_from(mix(seed) % (bytes.len() as u64 * 8)).unwrap_or(0);
        bytes[place / 8] ^= 1 << (place % 8);
    }
    bytes.into()
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.plan)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let hit = self.begin(Op::Put, location.as_ref())?;
        let put = |payload, opts| async move {
            let done = self.inner.put_opts(location, payload, opts).await;
            self.note_made(location);
            done
        };
        match hit {
            None => put(payload, opts).await,
            Some(hit) => {
                if hit.fault == Fault::Half {
                    self.leave_half(location, &payload);
                }
                self.hit(&hit, Op::Put, location.as_ref(), put(payload, opts)).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.call(Op::Begin, location, self.inner.put_multipart_opts(location, opts)).await?;
        Ok(Box::new(FaultUpload { inner, location: location.clone(), store: self.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        match self.begin(Op::Get, location.as_ref())? {
            None => self.inner.get_opts(location, options).await,
            Some(hit) => self.get_some(location, options, hit).await,
        }
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let Some(hit) = self.begin(Op::Get, location.as_ref())? else {
            return self.inner.get_ranges(location, ranges).await;
        };
        let mut read =
            self.hit(&hit, Op::Get, location.as_ref(), self.inner.get_ranges(location, ranges)).await?;
        if let (Fault::WrongBit, Some(first)) = (hit.fault, read.first_mut()) {
            *first = with_wrong_bit(first, hit.call);
        }
        Ok(read)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let this = self.clone();
        let deleted = async move { stream::iter(this.delete_some(locations).await) };
        stream::once(deleted).flatten().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix) = (self.clone(), prefix.cloned());
        stream::once(async move { this.list_some(prefix, None).await }).flatten().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let (this, prefix, offset) = (self.clone(), prefix.cloned(), offset.clone());
        stream::once(async move { this.list_some(prefix, Some(offset)).await }).flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let whole = Path::default();
        self.call(Op::List, prefix.unwrap_or(&whole), self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let copy = async {
            let done = self.inner.copy_opts(from, to, options).await;
            self.note_made(to);
            done
        };
        self.call(Op::Copy, to, copy).await
    }
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    location: Path,
    store: FaultStore,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, store, location) = (self.inner.put_part(data), self.store.clone(), self.location.clone());
        async move { store.call(Op::Part, &location, part).await }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (store, location) = (self.store.clone(), self.location.clone());
        let complete = async {
            let done = self.inner.complete().await;
            store.note_made(&location);
            done
        };
        store.call(Op::Complete, &location, complete).await
    }

    async fn abort(&mut self) -> Result<()> {
        let (store, location) = (self.store.clone(), self.location.clone());
        store.call(Op::Abort, &location, self.inner.abort()).await
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use object_store::{ObjectStoreExt, PutMode, memory::InMemory};

    use super::*;

    fn store(plan: Plan) -> (FaultStore, Arc<dyn ObjectStore>) {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        (FaultStore::new(inner.clone(), plan), inner)
    }

    async fn names(store: &dyn ObjectStore) -> Result<Vec<String>> {
        store.list(None).map_ok(|meta| meta.location.to_string()).try_collect().await
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says() {
        let a = Path::from("a");
        let (faulty, inner) = store(Plan::at(1, Fault::Before));
        faulty.put(&a, "x".into()).await.unwrap_err();
        assert!(names(inner.as_ref()).await.unwrap().is_empty());

        let (faulty, inner) = store(Plan::at(1, Fault::After));
        faulty.put(&a, "x".into()).await.unwrap_err();
        assert_eq!(names(inner.as_ref()).await.unwrap(), ["a"]);

        let (faulty, _) = store(Plan::each([(2, Fault::Half), (3, Fault::WrongBit)]));
        faulty.put(&a, "0123456789".into()).await.unwrap();
        let mut cut = faulty.get(&a).await.unwrap().into_stream();
        assert_eq!(cut.next().await.unwrap().unwrap(), "01234");
        cut.next().await.unwrap().unwrap_err();
        let wrong = faulty.get(&a).await.unwrap().bytes().await.unwrap();
        let turned: u32 = wrong.iter().zip(b"0123456789").map(|(a, b)| (a ^ b).count_ones()).sum();
        assert_eq!((wrong.len(), turned), (10, 1));

        let (faulty, _) = store(Plan::each([(3, Fault::Stale), (5, Fault::Half)]));
        faulty.put(&a, "x".into()).await.unwrap();
        faulty.put(&Path::from("b"), "x".into()).await.unwrap();
        assert!(names(&faulty).await.unwrap().is_empty(), "too new for a stale list");
        assert_eq!(names(&faulty).await.unwrap(), ["a", "b"]);
        let cut: Vec<_> = faulty.list(None).collect().await;
        assert!(matches!(cut.as_slice(), [Ok(_), Err(_)]), "{cut:?}");

        let (faulty, _) = store(Plan::each([(1, Fault::NoSpace), (2, Fault::Status(409))]));
        let full = faulty.put(&a, "x".into()).await.unwrap_err();
        let Error::Generic { source, .. } = full else { panic!("{full}") };
        assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::StorageFull);
        let exists = faulty.put_opts(&a, "x".into(), PutMode::Create.into()).await.unwrap_err();
        assert!(matches!(exists, Error::AlreadyExists { .. }), "{exists}");
        assert_eq!((faulty.hits(), faulty.calls()), (2, 2));
    }

    #[tokio::test]
    async fn after_a_crash_nothing_works_any_more() {
        let (faulty, inner) = store(Plan::at(2, Fault::After).then_crash().only(|op, _| op == Op::Put));
        for name in ["a", "b"] {
            names(&faulty).await.unwrap();
            assert_eq!(faulty.put(&Path::from(name), "x".into()).await.is_ok(), name == "a");
        }
        faulty.crashed().await;
        faulty.put(&Path::from("c"), "x".into()).await.unwrap_err();
        names(&faulty).await.unwrap_err();
        assert_eq!(names(inner.as_ref()).await.unwrap(), ["a", "b"], "the answer was lost, not the effect");
        assert_eq!(faulty.log(), ["1 Put a", "2 Put b <- After"]);
    }

    #[tokio::test]
    async fn a_rival_comes_first_when_asked_to() {
        let (_, inner) = store(Plan::none());
        let (rival, a) = (inner.clone(), Path::from("a"));
        let faulty = FaultStore::new(inner, Plan::at(1, Fault::Meanwhile))
            .meanwhile(async move { drop(rival.put(&Path::from("a"), "rival".into()).await.unwrap()) });
        let late = faulty.put_opts(&a, "ours".into(), PutMode::Create.into()).await.unwrap_err();
        assert!(matches!(late, Error::AlreadyExists { .. }), "{late}");
    }
}
