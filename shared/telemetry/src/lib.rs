//! Log set-up, span fields and the metrics catalogue.
