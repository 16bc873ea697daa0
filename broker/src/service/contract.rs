//! Metadata of endpoints: the format of their messages, the schemas, and the section of the contract in words.

use std::collections::BTreeMap;

/// Format of endpoints for clients and operators.
const BOTH: &str = "a MessagePack map; JSON where the request begins with {";
/// Format of endpoints between frontends and replicas.
const MESSAGE_PACK: &str = "a MessagePack map";

/// Metadata of the endpoint `endpoint` of the service `service`. Paths are those of Natter's source.
pub(super) fn metadata(service: &str, endpoint: &str) -> BTreeMap<&'static str, String> {
    let mut metadata = BTreeMap::new();
    let (format, documentation) = match (service, endpoint.strip_suffix("-user").unwrap_or(endpoint)) {
        ("frontend", operation) => {
            let suffix = if operation == endpoint { "" } else { "OfUser" };
            metadata.insert("schema", format!("docs/asyncapi.yaml#/operations/{operation}{suffix}"));
            (BOTH, if operation == "batch" { "PROTOCOL.md#batches" } else { "PROTOCOL.md#clients-to-frontends" })
        }
        ("replica", "status") => (BOTH, "PROTOCOL.md#presence-services-statuses"),
        ("replica", "log" | "snapshot") => (MESSAGE_PACK, "REPLICA_PROTOCOL.md#between-replicas"),
        ("replica", "update" | "query" | "confirm") => (MESSAGE_PACK, "REPLICA_PROTOCOL.md#frontends-to-replicas"),
        _ => return metadata,
    };
    metadata.insert("format", format.to_owned());
    metadata.insert("documentation", format!("docs/{documentation}"));
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_frontends_name_their_schemas_and_unknown_ones_have_no_metadata() {
        assert_eq!(metadata("frontend", "all-user")["schema"], "docs/asyncapi.yaml#/operations/allOfUser");
        assert_eq!(metadata("frontend", "average")["schema"], "docs/asyncapi.yaml#/operations/average");
        assert!(metadata("another", "average").is_empty() && metadata("replica", "another").is_empty());
    }
}
