//! Names of container images.

use super::document::{ClusterError, Document};

/// The image at `field`, or `default` where it is left out.
pub(super) fn image(
    document: &Document,
    field: &str,
    given: String,
    default: &str,
) -> Result<String, ClusterError> {
    if given.is_empty() {
        return Ok(default.to_owned());
    }
    let is_image = given.len() <= 500 && given.chars().all(|c| c.is_ascii_graphic());
    if is_image {
        Ok(given)
    } else {
        let message = format!("`{given}` is no image, as registry.example/coredns:1.14.4");
        Err(document.error_at(field, message))
    }
}
