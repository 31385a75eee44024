//! Two makes of S3 server.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use s3s_fs::FileSystem;
use tokio::runtime::Runtime;

use crate::program::{Server, free_port};
use crate::python::run_python;

/// The bucket that both have from their start.
pub const BUCKET: &str = "artifacts";

/// Longest listing in bytes.
const LONGEST_LISTING: usize = 64 << 20;
/// Longest body in bytes that is passed on in one piece.
const LONGEST_WHOLE: usize = 1 << 20;

/// The key that both are used with; [`S3Server`] takes no other.
pub const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "test-key"),
    ("AWS_SECRET_ACCESS_KEY", "test-secret-value"),
    ("AWS_DEFAULT_REGION", "us-east-1"),
];

/// moto's S3 server, which looks at no signature, with the bucket [`BUCKET`].
pub fn moto(python: &Path, folder: &Path) -> Server {
    let port = free_port();
    let command = [&python.display().to_string(), "-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]
        .map(str::to_owned);
    let server = Server::new(&command, &[], folder, port, Some("/moto-api/"));
    let script = "import boto3, sys\nboto3.client('s3', endpoint_url=sys.argv[1]).create_bucket(Bucket=sys.argv[2])\nprint('null')";
    run_python(python, script, &[&server.uri(), BUCKET], &KEYS);
    server
}

/// The S3 server `s3s-fs` over a folder: buckets are folders, objects files. It runs on threads of this process and checks signatures.
pub struct S3Server {
    runtime: Option<Runtime>,
    port: u16,
}

impl S3Server {
    /// Serves a folder on `port`, or on any that is free where it is 0; the bucket [`BUCKET`] is made where it is missing.
    ///
    /// # Errors
    /// A folder that cannot be written, a port that is taken.
    pub fn start(folder: &Path, port: u16) -> Result<Self, Box<dyn std::error::Error>> {
        std::fs::create_dir_all(folder.join(BUCKET))?;
        let files = FileSystem::new(folder).map_err(|error| format!("{}: {error:?}", folder.display()))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(KEYS[0].1, KEYS[1].1));
        let service = builder.build();
        let folder: Arc<Path> = folder.into();
        let port = if port == 0 { free_port() } else { port };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        // The store's files are read and written by threads for work that blocks; more of them than processors wake each other all the time.
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).max_blocking_threads(2).enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                // As servers do: otherwise the last piece of an answer waits for the client's word on the first, 40 ms each time.
                let _ = stream.set_nodelay(true);
                let (service, folder) = (service.clone(), folder.clone());
                let service = service_fn(move |request| answer(service.clone(), folder.clone(), request));
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(S3Server { runtime: Some(runtime), port })
    }

    /// Its address.
    pub fn uri(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// s3s-fs says of listings that their keys are percent-encoded, when it was asked for that, and leaves them as they are: clients then
/// take a `+` for a blank. It is better not to say so. And a key that is a folder of its store is an error inside to it, where an object is
/// just not there. Small bodies are passed on whole: it reads objects in pieces of 4096 bytes, and would send each for itself.
async fn answer(
    service: S3Service,
    folder: Arc<Path>,
    request: Request<Incoming>,
) -> Result<Response<Body>, HttpError> {
    let is_deletion = request.method() == Method::DELETE;
    let is_head = request.method() == Method::HEAD;
    let is_of_object = is_deletion || matches!(*request.method(), Method::GET | Method::HEAD);
    let place: PathBuf = folder.join(request.uri().path().trim_start_matches('/'));
    let is_listing = request.uri().query().is_some_and(|query| query.contains("encoding-type=url"));
    let mut request = request.map(Body::from);
    let length = body_length(request.headers());
    join_pieces(request.body_mut(), length).await?;
    let mut response = service.call(request).await?;
    if is_listing && let Ok(bytes) = response.body_mut().store_all_limited(LONGEST_LISTING).await {
        let text = String::from_utf8_lossy(&bytes).replace("<EncodingType>url</EncodingType>", "");
        response.headers_mut().remove("content-length");
        *response.body_mut() = Body::from(text);
    }
    if is_of_object && response.status().is_server_error() && place.is_dir() {
        *response.status_mut() = if is_deletion { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND };
        response.headers_mut().remove("content-length");
        *response.body_mut() = Body::from(String::new());
    }
    let length = if is_head { None } else { body_length(response.headers()) };
    join_pieces(response.body_mut(), length).await?;
    Ok(response)
}

/// What a header says of the length of a body.
fn body_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn join_pieces(body: &mut Body, length: Option<usize>) -> Result<(), HttpError> {
    if length.is_some_and(|length| length <= LONGEST_WHOLE) {
        body.store_all_limited(LONGEST_WHOLE).await.map_err(HttpError::new)?;
    }
    Ok(())
}

impl Drop for S3Server {
    /// Every connection breaks off.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }
}
