//! Reads the Secrets that BGP peers name: each by its name, and no other, so that the right to list or watch Secrets is not needed.
//!
//! Asked again and again, for without that right nobody tells of a change. While the API server does not answer, or not know its own
//! rules (403 while it starts), what it said last holds.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Api, REQUEST_TIMEOUT, WriteError, bounded};
use crate::facts::{SecretKey, Secrets, replace};

/// Between two looks, so the longest that a changed password takes to be noticed.
const PERIOD: Duration = Duration::from_secs(10);

/// Keeps `secrets` at what is found under the keys that are `wanted`, until `shutdown`.
///
/// # Errors
/// When nobody says any more what is wanted.
pub async fn run(
    api: Api,
    mut wanted: watch::Receiver<BTreeSet<SecretKey>>,
    secrets: watch::Sender<Arc<Secrets>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        let keys = wanted.borrow_and_update().clone();
        let known = secrets.borrow().clone();
        let read = shutdown.run_until_cancelled(read(&api, &keys, &known)).await;
        let Some(found) = read else { return Ok(()) };
        publish(&secrets, found);
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            changed = wanted.changed() => changed?,
            () = tokio::time::sleep(PERIOD), if !keys.is_empty() => {}
        }
    }
}

async fn read(api: &Api, keys: &BTreeSet<SecretKey>, known: &Secrets) -> Secrets {
    let objects = kube::Api::<Secret>::namespaced(api.client(), &api.namespace);
    let mut found = Secrets::new();
    for key in keys {
        let answer = bounded(REQUEST_TIMEOUT, objects.get(&key.name)).await;
        let is_no_news = |error: &WriteError| *error != WriteError::NotFound;
        let known = known.get(key).filter(|known| known.is_ok() && answer.as_ref().is_err_and(is_no_news));
        found.insert(key.clone(), known.cloned().unwrap_or_else(|| password(&api.namespace, key, answer)));
    }
    found
}

/// What the answer says, and what to do if that is no password.
fn password(namespace: &str, key: &SecretKey, answer: Result<Secret, WriteError>) -> Result<String, String> {
    let SecretKey { name, key } = key;
    let secret = answer.map_err(|error| match error {
        WriteError::NotFound => format!(
            "there is no Secret {name} in namespace {namespace}: kubectl create secret generic {name} -n {namespace} \
             --type kubernetes.io/basic-auth --from-literal {key}=PASSWORD"
        ),
        WriteError::Forbidden(_) => format!(
            "Secret {namespace}/{name} must not be read: the Role of namespace {namespace} has to allow `get` on Secrets, as that of \
             manifests/lanlord.yaml does"
        ),
        WriteError::Conflict | WriteError::AlreadyExists | WriteError::Timeout | WriteError::Unreachable(_) | WriteError::Invalid(_) => {
            format!("Secret {namespace}/{name} cannot be read: {error}")
        }
    })?;
    let bytes = secret.data.and_then(|mut data| data.remove(key)).map(|bytes| bytes.0);
    let text = bytes.ok_or_else(|| format!("Secret {namespace}/{name} has no key `{key}`: put the password there"))?;
    match String::from_utf8(text) {
        Ok(text) if text.is_empty() => Err(format!("`{key}` of Secret {namespace}/{name} is empty: put the password there")),
        Ok(text) => Ok(text),
        Err(_) => {
            Err(format!("`{key}` of Secret {namespace}/{name} is not UTF-8 text: put the password there as it is typed into the router"))
        }
    }
}

fn publish(secrets: &watch::Sender<Arc<Secrets>>, found: Secrets) {
    secrets.send_if_modified(|known| {
        for (key, found) in &found {
            let changed = known.get(key) != Some(found);
            match found {
                Ok(_) if changed => tracing::info!(secret = key.name, key = key.key, "BGP: the password is read"),
                Err(why) if changed => tracing::warn!(secret = key.name, key = key.key, %why, "BGP: no password"),
                Ok(_) | Err(_) => {}
            }
        }
        replace(known, Arc::new(found))
    });
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn found(data: &[(&str, &[u8])]) -> Result<String, String> {
        let data = data.iter().map(|(key, bytes)| ((*key).to_owned(), ByteString(bytes.to_vec()))).collect();
        let key = SecretKey { name: "tor".to_owned(), key: "password".to_owned() };
        password("lanlord", &key, Ok(Secret { data: Some(data), ..Secret::default() }))
    }

    #[test]
    fn a_password_is_the_text_under_its_key_as_it_is() {
        assert_eq!(found(&[("password", b"s3cr\xc3\xa9t "), ("username", b"x")]), Ok("s3crét ".to_owned()));
        assert_eq!(found(&[("username", b"x")]).unwrap_err(), "Secret lanlord/tor has no key `password`: put the password there");
        assert!(found(&[("password", b"")]).unwrap_err().contains("is empty"));
        assert!(found(&[("password", b"\xff")]).unwrap_err().contains("is not UTF-8"));
    }

    #[test]
    fn a_secret_that_is_not_there_is_told_with_the_command_that_makes_it() {
        let key = SecretKey { name: "tor".to_owned(), key: "password".to_owned() };
        let why = password("lanlord", &key, Err(WriteError::NotFound)).unwrap_err();
        assert!(why.contains("kubectl create secret generic tor -n lanlord") && why.contains("--from-literal password=PASSWORD"), "{why}");
        let why = password("lanlord", &key, Err(WriteError::Forbidden("secrets".to_owned()))).unwrap_err();
        assert!(why.contains("`get` on Secrets"), "{why}");
    }
}
