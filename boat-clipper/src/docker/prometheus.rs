//! What Prometheus is told to ask: a file on this machine that its container sees.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use boat_core::NodeId;
use http::{Method, StatusCode};

use super::DockerError;
use super::labels::Owner;
use crate::ClipperConfig;
use crate::query::connection::{Connection, ExchangeError};

/// How the names of these files begin and end; between stand cluster, node and run, which have no dots.
const PREFIX: &str = "boat-prometheus.";
const SUFFIX: &str = ".yml";

/// Where the file of a node's run lies.
pub(crate) fn path(owner: &Owner) -> PathBuf {
    let Owner { cluster, node, run } = owner;
    std::env::temp_dir().join(format!("{PREFIX}{cluster}.{node}.{run}{SUFFIX}"))
}

/// Which targets are asked, and how often: as Clipper's tool writes it.
pub(crate) fn text<'a>(exporter: &str, models: impl Iterator<Item = &'a str>) -> String {
    let job = |name: &str, target: &str| {
        format!("- job_name: {name}\n  static_configs:\n  - targets:\n    - {target}:1390\n")
    };
    let models: String = models.map(|model| job(model, model)).collect();
    format!(
        "global:\n  evaluation_interval: 5s\n  scrape_interval: 5s\nscrape_configs:\n{}{models}",
        job("query", exporter)
    )
}

/// Writes the file, unless it is there with this very text.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), DockerError> {
    let failed = |source| DockerError::File { path: path.to_owned(), source };
    let is_ours = fs::symlink_metadata(path).is_ok_and(|found| is_own(&found));
    if is_ours && fs::read(path).is_ok_and(|found| found == text.as_bytes()) {
        return Ok(());
    }
    // A container that has it goes on seeing this one, not another of its name.
    let mut file = if is_ours {
        fs::OpenOptions::new().write(true).truncate(true).open(path).map_err(failed)?
    } else {
        gone(fs::remove_file(path)).map_err(failed)?;
        // Everybody may write into a temporary directory: nothing that others have put there is written to.
        fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(failed)?
    };
    file.write_all(text.as_bytes()).map_err(failed)
}

/// Whether it is a file of this process's user, under one name.
fn is_own(found: &fs::Metadata) -> bool {
    let own = fs::metadata("/proc/self").map(|process| process.uid());
    found.is_file() && found.nlink() == 1 && own.is_ok_and(|own| own == found.uid())
}

/// Tells a running Prometheus to read the file again. The error says why it does not.
pub(crate) async fn reload(address: SocketAddr) -> Result<(), String> {
    let mut connection = Connection::new(address, &ClipperConfig::default());
    match connection.exchange(Method::POST, "/-/reload", bytes::Bytes::new()).await {
        Ok((StatusCode::OK, _)) => Ok(()),
        Ok((status, _)) => Err(format!("POST /-/reload gave status {status}")),
        Err(ExchangeError::NotSent(why) | ExchangeError::Unknown(why)) => Err(why),
    }
}

/// The files of a cluster, or of one of its nodes, whichever run wrote them.
pub(crate) fn files(cluster: &str, node: Option<NodeId>) -> Result<Vec<PathBuf>, DockerError> {
    let directory = std::env::temp_dir();
    let failed = |source| DockerError::File { path: directory.clone(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_one = entry.file_name().to_str().is_some_and(|name| is_of(name, cluster, node));
        if is_one && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes such a file.
pub(crate) fn remove(path: &Path) -> Result<(), DockerError> {
    gone(fs::remove_file(path)).map_err(|source| DockerError::File { path: path.to_owned(), source })
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn is_of(name: &str, cluster: &str, node: Option<NodeId>) -> bool {
    let inner = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
    let mut parts = inner.unwrap_or_default().split('.');
    let (of, at, run) = (parts.next(), parts.next(), parts.next());
    let at = at.and_then(|at| at.parse::<NodeId>().ok());
    let is_node = at.is_some_and(|at| node.is_none_or(|node| node == at));
    of == Some(cluster) && is_node && run.is_some() && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_cluster_and_node() {
        let owner = Owner { cluster: "boat".to_owned(), node: NodeId(1), run: "r".to_owned() };
        let path = path(&owner);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(is_of(name, "boat", None) && is_of(name, "boat", Some(NodeId(1))));
        assert!(!is_of(name, "boat", Some(NodeId(11))) && !is_of(name, "other", None));
        for other in ["boat-prometheus.boat.1.r", "boat-prometheus.boat.r.yml", "prometheus.yml"] {
            assert!(!is_of(other, "boat", None), "{other}");
        }
    }

    #[test]
    fn every_container_that_has_numbers_is_asked() {
        let expected = "global:\n  evaluation_interval: 5s\n  scrape_interval: 5s\nscrape_configs:\n\
                        - job_name: query\n  static_configs:\n  - targets:\n    - e-1:1390\n\
                        - job_name: m_1-1\n  static_configs:\n  - targets:\n    - m_1-1:1390\n";
        assert_eq!(text("e-1", ["m_1-1"].into_iter()), expected);
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let directory = std::env::temp_dir().join(format!("boat-prometheus-test-{}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let (precious, link) = (directory.join("precious"), directory.join("link"));
        fs::write(&precious, "text").unwrap();
        std::os::unix::fs::symlink(&precious, &link).unwrap();
        write(&link, "new").unwrap();
        let first = fs::metadata(&link).unwrap().ino();
        write(&link, "newer").unwrap();
        write(&link, "new").unwrap();
        // A container sees what it was given, which must stay the same file.
        assert_eq!(fs::metadata(&link).unwrap().ino(), first);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "text");
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
        remove(&link).unwrap();
        remove(&link).unwrap();
        fs::remove_dir_all(&directory).unwrap();
    }
}
