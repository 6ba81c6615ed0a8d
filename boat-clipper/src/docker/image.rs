//! Images that must be there before a container can be made.

use std::time::Duration;

use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::DockerError;
use super::api::{Api, status, text};

/// How often the progress of a pull is told.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// How long a registry may be silent during a pull.
const SILENCE_MAX: Duration = Duration::from_secs(120);

impl Api {
    /// Sees to it that an image is on this machine: looks, and pulls it if need be, which is told in the log.
    pub(crate) async fn need_image(&self, image: &str) -> Result<(), DockerError> {
        match self.docker.inspect_image(image).await {
            Ok(_) => return Ok(()),
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(self.failed(&format!("look at image {image}"), &error)),
        }
        log::info!("image {image} is not on this machine: pulling it");
        self.pull(image).await.map_err(|reason| DockerError::Image { image: image.to_owned(), reason })?;
        log::info!("image {image} is pulled");
        Ok(())
    }

    async fn pull(&self, image: &str) -> Result<(), String> {
        let (name, tag) = split(image);
        let options = CreateImageOptionsBuilder::default().from_image(name).tag(tag).build();
        let mut progress = Box::pin(self.docker.create_image(Some(options), None, None));
        let mut told = Instant::now();
        let mut layers = std::collections::BTreeMap::new();
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, progress.next()).await;
            let step = match next.map_err(|_| format!("nothing came for {SILENCE_MAX:?}"))? {
                Some(step) => step.map_err(|error| text(&error))?,
                None => return Ok(()),
            };
            if let (Some(layer), Some(detail)) = (step.id, step.progress_detail) {
                layers.insert(layer, (detail.current.unwrap_or(0), detail.total.unwrap_or(0)));
            }
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                let sum = |part: fn(&(i64, i64)) -> i64| layers.values().map(part).sum::<i64>() / (1 << 20);
                log::info!("image {image}: {} of {} MiB", sum(|layer| layer.0), sum(|layer| layer.1));
            }
        }
    }
}

/// Name and tag (or digest). Without a tag the engine would pull all of them.
fn split(image: &str) -> (&str, &str) {
    if image.contains('@') {
        return (image, "");
    }
    let name_at = image.rfind('/').map_or(0, |slash| slash + 1);
    match image.get(name_at..).and_then(|name| name.find(':')) {
        Some(colon) => (&image[..name_at + colon], &image[name_at + colon + 1..]),
        None => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_the_tag_and_nowhere_else() {
        assert_eq!(split("redis"), ("redis", "latest"));
        assert_eq!(split("redis:alpine"), ("redis", "alpine"));
        assert_eq!(split("clipper/query_frontend:0.4.1"), ("clipper/query_frontend", "0.4.1"));
        assert_eq!(split("localhost:5000/boat/echo"), ("localhost:5000/boat/echo", "latest"));
        assert_eq!(split("localhost:5000/boat/echo:1"), ("localhost:5000/boat/echo", "1"));
        let digest = "redis@sha256:0123456789abcdef";
        assert_eq!(split(digest), (digest, ""));
    }
}
