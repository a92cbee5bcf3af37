//! Makes the public registry's tags equal Koji's and Bodhi's truth.
