package telemetry

// TraceID parses the trace id of a W3C traceparent header (version 00-<32 hex>-<16 hex>-<2 hex>,
// later versions may be longer). It returns "" for any other text, since the text comes from a
// client and is logged.
func TraceID(traceparent string) string {
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(traceparent) < length || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-' {
		return ""
	}
	version, trace, parent, flags := traceparent[:2], traceparent[3:35], traceparent[36:52], traceparent[53:55]
	if version == "ff" || !lowerHex(version) || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) ||
		zeros(trace) || zeros(parent) {
		return ""
	}
	if len(traceparent) > length && (version == "00" || traceparent[length] != '-') {
		return ""
	}
	return trace
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func zeros(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
