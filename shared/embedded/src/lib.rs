//! An in-process bus, OCI registry, Koji and Bodhi: the default of the demo, and what tests run on.
