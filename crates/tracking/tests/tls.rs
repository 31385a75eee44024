//! TLS against a real MLflow server: an authority of our own, a certificate of ours, and none at all.

use yolo11_test_servers::{Server, free_port, mlflow_command, python, run_python, until};
use yolo11_tracking::Environment;
use yolo11_tracking::client::Client;

/// Makes an authority, a server's and a client's certificate in a folder.
const CERTIFICATES: &str = r#"
import sys, datetime, ipaddress, pathlib
from cryptography import x509
from cryptography.x509.oid import NameOID, ExtendedKeyUsageOID
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
folder = pathlib.Path(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)
def make(name, issuer=None, usage=None):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[1].subject if issuer else subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName('localhost'), x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), critical=False))
    if usage: builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    certificate = builder.sign(issuer[0] if issuer else key, hashes.SHA256())
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / f'{name}.pem').write_bytes(pem)
    (folder / f'{name}.key').write_bytes(secret)
    (folder / f'{name}-both.pem').write_bytes(pem + secret)
    return key, certificate
ca = make('authority')
make('server', ca, ExtendedKeyUsageOID.SERVER_AUTH)
make('client', ca, ExtendedKeyUsageOID.CLIENT_AUTH)
print('null')
"#;

#[test]
fn certificates_are_checked_and_shown() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    run_python(&python, CERTIFICATES, &[&folder.path().display().to_string()], &[]);
    let port = free_port();
    let backend = format!("sqlite:///{}", file("mlflow.db"));
    let options = format!(
        "--ssl-keyfile {} --ssl-certfile {} --ssl-ca-certs {} --ssl-cert-reqs 2",
        file("server.key"),
        file("server.pem"),
        file("authority.pem")
    );
    let command = mlflow_command(&python, port, &backend, &["--workers", "1", "--uvicorn-opts", &options]);
    // That it listens must do: what it answers is what is asked here.
    let jobs = [("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")];
    let _server = Server::new(&command, &jobs, folder.path(), port, None);
    let uri = format!("https://127.0.0.1:{}", port);
    let ask = |pairs: &[(&str, &str)]| {
        let environment = Environment::from_pairs(pairs.iter().copied());
        Client::new(&uri, &environment).unwrap().experiment_by_name("Default")
    };
    let (authority, client) = (file("authority.pem"), file("client-both.pem"));
    let trusts = ("MLFLOW_TRACKING_SERVER_CERT_PATH", authority.as_str());
    let shows = ("MLFLOW_TRACKING_CLIENT_CERT_PATH", client.as_str());

    assert_eq!(until(|| ask(&[trusts, shows])).unwrap().unwrap().name, "Default");
    assert_eq!(ask(&[("MLFLOW_TRACKING_INSECURE_TLS", "true"), shows]).unwrap().unwrap().name, "Default");
    let text = ask(&[shows]).unwrap_err().to_string();
    assert!(text.contains("hint: name the server's authority with MLFLOW_TRACKING_SERVER_CERT_PATH"), "{text}");
    let text = ask(&[trusts]).unwrap_err().to_string();
    assert!(text.contains("no answer: "), "{text}");
    let keyless = [("MLFLOW_TRACKING_CLIENT_CERT_PATH", file("client.pem"))];
    let text = Client::new(&uri, &Environment::from_pairs(keyless)).err().unwrap().to_string();
    assert!(text.contains("client.pem: not a PEM file of certificates: it holds no private key"), "{text}");
}
