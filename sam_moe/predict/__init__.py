"""From a scan and a few clicks to a mask: regions, cached embeddings, answers on the scan's own grid."""
