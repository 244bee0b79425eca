//! MinIO as the tests use it: the one that `tests/services/minio` started, or one of a test's own.

use std::{
    collections::BTreeSet,
    env,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, aws::AmazonS3Builder, path::Path as Key};
use tempfile::TempDir;

use crate::support::{Done, Place};

/// What may be around on the machine that runs the tests.
const FOREIGN: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
];

/// A bucket, and who may use it.
#[derive(Clone)]
pub struct Minio {
    pub endpoint: String,
    pub bucket: String,
    pub key: String,
    pub secret: String,
}

/// The MinIO that this machine has; says so when there is none.
pub fn minio() -> Option<Minio> {
    let get = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let Some(endpoint) = get("MINIO_ENDPOINT") else {
        println!("skipped: MINIO_ENDPOINT is not set");
        return None;
    };
    let need = |name: &str| get(name).unwrap_or_else(|| panic!("{name} is not set"));
    Some(Minio {
        endpoint,
        bucket: need("MINIO_BUCKET"),
        key: need("MINIO_ACCESS_KEY"),
        secret: need("MINIO_SECRET_KEY"),
    })
}

impl Minio {
    /// An address in the bucket that nobody else uses.
    pub fn fresh(&self) -> String {
        let unique = tempfile::tempdir().unwrap();
        let name = unique.path().file_name().unwrap().to_string_lossy().trim_start_matches('.').to_owned();
        format!("s3://{}/{}-{name}", self.bucket, std::process::id())
    }

    /// The variables of a person with keys of their own.
    pub fn login(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_S3", self.endpoint.clone()),
            ("AWS_ACCESS_KEY_ID", self.key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.secret.clone()),
        ]
    }

    /// The store, not through Lagar.
    fn store(&self) -> Arc<dyn ObjectStore> {
        let store = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region("us-east-1")
            .with_endpoint(&self.endpoint)
            .with_allow_http(true)
            .with_access_key_id(&self.key)
            .with_secret_access_key(&self.secret)
            .build();
        Arc::new(store.unwrap())
    }

    fn key_of(&self, url: &str) -> Key {
        let key = url.strip_prefix(&format!("s3://{}/", self.bucket));
        Key::parse(key.unwrap_or_else(|| panic!("{url} is not in {}", self.bucket))).unwrap()
    }

    pub fn put(&self, url: &str, bytes: impl Into<PutPayload>) {
        let key = self.key_of(url);
        in_runtime(self.store().put(&key, bytes.into())).unwrap();
    }

    /// The keys below `url`, without it.
    pub fn keys(&self, url: &str) -> BTreeSet<String> {
        let folder = self.key_of(url);
        let store = self.store();
        let listed: Vec<_> = in_runtime(store.list(Some(&folder)).try_collect()).unwrap();
        let name = |key: &Key| {
            key.as_ref().strip_prefix(folder.as_ref()).unwrap().trim_start_matches('/').to_owned()
        };
        listed.iter().map(|meta| name(&meta.location)).collect()
    }
}

fn in_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// A copy of a project on a machine of its own (a home folder and an environment), with its lake in a bucket.
pub struct Machine {
    pub place: Place,
    pub home: TempDir,
    pub lake: String,
    pub env: Vec<(&'static str, String)>,
}

impl Machine {
    pub fn new(place: Place, lake: &str, env: Vec<(&'static str, String)>) -> Self {
        Self { place, home: tempfile::tempdir().unwrap(), lake: lake.to_owned(), env }
    }

    pub fn shop(minio: &Minio, lake: &str) -> Self {
        Self::new(Place::sample("shop"), lake, minio.login())
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        self.dress(&mut command);
        command
    }

    /// Gives `command` the environment of this machine and nothing of the one that runs the tests.
    pub fn dress(&self, command: &mut Command) {
        for name in FOREIGN {
            command.env_remove(name);
        }
        command
            .env("HOME", self.home.path())
            .env_remove("XDG_STATE_HOME")
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("LAGAR_LAKE", &self.lake).envs(self.env.iter().map(|(name, value)| (name, value)));
    }

    pub fn lagar(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().unwrap())
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> serde_json::Value {
        let done = self.lagar(&[&["run", "--json"], args].concat());
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.json()
    }

    #[track_caller]
    pub fn rows(&self, sql: &str) -> Vec<serde_json::Value> {
        let done = self.lagar(&["sql", sql, "--format", "json"]);
        assert_eq!(done.code, 0, "{sql}\n{}", done.stderr);
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {}", done.stdout))
    }

    /// The numbers of all releases, as they are listed.
    #[track_caller]
    pub fn releases(&self) -> Vec<u64> {
        let done = self.lagar(&["releases", "list", "--json"]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        done.json().as_array().unwrap().iter().map(|release| release["number"].as_u64().unwrap()).collect()
    }
}

/// A server of a test's own, which it may kill.
pub struct Server {
    pub minio: Minio,
    program: String,
    port: u16,
    data: TempDir,
    child: Child,
}

impl Server {
    /// `None`, said aloud, where the program is not there to be started.
    pub fn start() -> Option<Self> {
        let Some(program) = env::var("MINIO_PROGRAM").ok().filter(|program| !program.is_empty()) else {
            println!("skipped: MINIO_PROGRAM is not set");
            return None;
        };
        let data = tempfile::tempdir().unwrap();
        // A folder of the drive is a bucket.
        std::fs::create_dir_all(data.path().join("drive/lagar")).unwrap();
        // Below the ports that the system gives to clients: nobody takes it while the server is down.
        let port = (21_000..30_000)
            .skip(std::process::id() as usize % 8_000)
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let minio = Minio {
            endpoint: format!("http://127.0.0.1:{port}"),
            bucket: "lagar".into(),
            key: "minio-tests".into(),
            secret: "minio-tests-secret".into(),
        };
        let child = Self::launch(&program, port, data.path());
        let mut server = Self { minio, program, port, data, child };
        server.wait();
        Some(server)
    }

    fn launch(program: &str, port: u16, data: &Path) -> Child {
        Command::new(program)
            .args(["server", "--quiet", "--address", &format!("127.0.0.1:{port}")])
            .arg(data.join("drive"))
            .env("HOME", data)
            .env("MINIO_ROOT_USER", "minio-tests")
            .env("MINIO_ROOT_PASSWORD", "minio-tests-secret")
            .env("MINIO_BROWSER", "off")
            .env("MINIO_UPDATE", "off")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() || !self.answers() {
            assert!(self.child.try_wait().unwrap().is_none(), "MinIO ended while starting");
            assert!(Instant::now() < until, "MinIO does not answer");
            thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let folder = Key::from("nothing");
        let store = self.minio.store();
        in_runtime(store.list(Some(&folder)).try_collect::<Vec<_>>()).is_ok()
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn restart(&mut self) {
        self.child = Self::launch(&self.program, self.port, self.data.path());
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
