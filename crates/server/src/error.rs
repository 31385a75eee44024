//! What a call answers when it cannot do its work: MLflow's error codes, each with its HTTP status.

use std::fmt;

/// MLflow's error codes, as far as this server gives them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A parameter is missing, malformed or out of its range.
    InvalidParameterValue,
    /// Something of that name is there already.
    ResourceAlreadyExists,
    /// There is no such thing.
    ResourceDoesNotExist,
    /// The thing is in a state that forbids the call.
    InvalidState,
    /// No such path.
    EndpointNotFound,
    /// Nobody has said who asks, or not rightly.
    Unauthenticated,
    /// Whoever asks may not.
    PermissionDenied,
    /// The body is longer than the server takes.
    TooLarge,
    /// A range of bytes that is not in the file.
    RangeNotSatisfiable,
    /// The database or the store cannot work at the moment; the same call may succeed later.
    TemporarilyUnavailable,
    /// This server does not do that.
    NotImplemented,
    /// A fault of the server or of its database.
    Internal,
}

impl Code {
    /// The code's name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Code::InvalidParameterValue | Code::TooLarge | Code::RangeNotSatisfiable => "INVALID_PARAMETER_VALUE",
            Code::ResourceAlreadyExists => "RESOURCE_ALREADY_EXISTS",
            Code::ResourceDoesNotExist => "RESOURCE_DOES_NOT_EXIST",
            Code::InvalidState => "INVALID_STATE",
            Code::EndpointNotFound => "ENDPOINT_NOT_FOUND",
            Code::Unauthenticated => "UNAUTHENTICATED",
            Code::PermissionDenied => "PERMISSION_DENIED",
            Code::TemporarilyUnavailable => "TEMPORARILY_UNAVAILABLE",
            Code::NotImplemented => "NOT_IMPLEMENTED",
            Code::Internal => "INTERNAL_ERROR",
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(self) -> u16 {
        match self {
            Code::InvalidParameterValue | Code::ResourceAlreadyExists => 400,
            Code::Unauthenticated => 401,
            Code::PermissionDenied => 403,
            Code::ResourceDoesNotExist | Code::EndpointNotFound => 404,
            Code::TooLarge => 413,
            Code::RangeNotSatisfiable => 416,
            Code::InvalidState | Code::Internal => 500,
            Code::NotImplemented => 501,
            Code::TemporarilyUnavailable => 503,
        }
    }
}

/// An error as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Its kind.
    pub code: Code,
    /// What is wrong, and where.
    pub message: String,
}

impl ApiError {
    /// An error of a kind.
    pub fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into() }
    }

    /// A parameter that cannot be used.
    pub fn invalid(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::InvalidParameterValue, message)
    }

    /// Something that is not there.
    pub fn missing(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::ResourceDoesNotExist, message)
    }

    /// Something that is there already.
    pub fn exists(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::ResourceAlreadyExists, message)
    }

    /// Something that cannot work at the moment.
    pub fn unavailable(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::TemporarilyUnavailable, message)
    }

    /// A fault of this server.
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::Internal, message)
    }

    /// The body of the answer.
    pub fn body(&self) -> Vec<u8> {
        serde_json::json!({"error_code": self.code.name(), "message": self.message}).to_string().into_bytes()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for ApiError {}
