package sigstore

// Shape is shape, for comparing with a decoder.
var Shape = shape
