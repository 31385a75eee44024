//! An S3 store: HeadBucket and CreateBucket, signed by version 4, path style.

use std::time::Duration;

use rusty_s3::{Bucket, Credentials, S3Action, UrlStyle};
use url::Url;

use super::Fault;
use super::http::{Answer, Client, Trust};
use crate::secret::Secret;

/// How long a signature is good for.
const SIGNATURE: Duration = Duration::from_secs(300);

/// Where a bucket is and as whom to ask for it.
#[derive(Debug, Clone)]
pub struct Store {
    /// Address of the store.
    pub endpoint: Url,
    /// Region, such as `us-east-1`.
    pub region: String,
    /// Access key.
    pub key: String,
    /// Secret key.
    pub secret: Secret,
    /// Name of the bucket.
    pub bucket: String,
    /// How to trust the store.
    pub trust: Trust,
}

/// Whether the bucket answers. Errors: why not, [`Fault::BucketMissing`] where all but the bucket is well.
pub fn ready(store: &Store) -> Result<(), Fault> {
    let (client, bucket, credentials) = parts(store)?;
    let answer = client.send("HEAD", &bucket.head_bucket(Some(&credentials)).sign(SIGNATURE), &[])?;
    match answer.status {
        200 => answer.clock_fault(&store.endpoint).map_or(Ok(()), Err),
        404 => Err(Fault::BucketMissing { bucket: store.bucket.clone() }),
        // HEAD has no body to say why.
        _ => {
            let url = bucket.get_object(Some(&credentials), ".yolo11-probe").sign(SIGNATURE);
            Err(refusal(&client.send("GET", &url, &[])?, store))
        }
    }
}

/// Whether the store answers at all, with or without the bucket. Errors: why not.
pub fn store_ready(store: &Store) -> Result<(), Fault> {
    match ready(store) {
        Err(Fault::BucketMissing { .. }) => Ok(()),
        other => other,
    }
}

/// Creates the bucket if it is missing and says whether it had to. Errors: why it could not.
pub fn create_bucket(store: &Store) -> Result<bool, Fault> {
    match ready(store) {
        Err(Fault::BucketMissing { .. }) => {}
        other => return other.map(|()| false),
    }
    let (client, bucket, credentials) = parts(store)?;
    let place = match store.region.as_str() {
        // The region where the place must not be named.
        "us-east-1" => String::new(),
        region => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    };
    let answer = client.send_body("PUT", &bucket.create_bucket(&credentials).sign(SIGNATURE), &[], &place)?;
    match answer.status {
        // 409: somebody else was quicker.
        200 | 409 => ready(store).map(|()| answer.status == 200),
        _ => Err(refusal(&answer, store)),
    }
}

fn parts(store: &Store) -> Result<(Client, Bucket, Credentials), Fault> {
    let client = Client::new(&store.trust)?;
    let bucket = Bucket::new(store.endpoint.clone(), UrlStyle::Path, store.bucket.clone(), store.region.clone());
    let bucket = bucket.map_err(|error| Fault::Other(format!("S3 endpoint or bucket: {error}")))?;
    Ok((client, bucket, Credentials::new(store.key.as_str(), store.secret.reveal())))
}

/// What an answer that is not 200 means, by its error code (Amazon S3 API, «Error responses»).
fn refusal(answer: &Answer, store: &Store) -> Fault {
    let code = between(&answer.body, "<Code>", "</Code>").unwrap_or_default();
    if let Some(fault) = answer.clock_fault(&store.endpoint) {
        return fault;
    }
    match code {
        "RequestTimeTooSkewed" => {
            Fault::ClockSkew { address: super::http::address(&store.endpoint), seconds: answer.skew }
        }
        "InvalidAccessKeyId" => Fault::WrongKey { detail: "the store does not know AWS_ACCESS_KEY_ID".to_owned() },
        "SignatureDoesNotMatch" => {
            Fault::WrongKey { detail: "AWS_SECRET_ACCESS_KEY does not belong to AWS_ACCESS_KEY_ID".to_owned() }
        }
        "AccessDenied" => {
            Fault::WrongKey { detail: format!("the key may not use bucket `{}` (AccessDenied)", store.bucket) }
        }
        "NoSuchBucket" => Fault::BucketMissing { bucket: store.bucket.clone() },
        "" if matches!(answer.status, 401 | 403) => {
            Fault::WrongKey { detail: format!("the store answers {}", answer.status) }
        }
        "" => Fault::Other(answer.summary()),
        // Stores have words of their own for a key that they do not know: NotSignedUp, InvalidSecurity.
        code if answer.status == 403 => Fault::WrongKey { detail: format!("the store answers 403 {code}") },
        code => Fault::Other(format!("status {}: {code}", answer.status)),
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(inner, _)| inner)
}
