//! The only loop: dispatch, lanes, retry, drain, survey, configuration, the socket.
