package wire

const (
	// maxDepth is how many arrays and objects may be open at once within one value. Phoenix has no limit but its
	// frame size. This one keeps below what receivers of a relayed payload can take: encoding/json
	// stops at 10,000, recursive parsers of clients somewhere in the thousands.
	maxDepth = 4096

	// maxField is the most bytes a field of a binary frame may have: sizes are one byte each.
	maxField = 255

	// maxSafeExponent: a number with n digits before the point and the exponent e is below 10^(n+e), and
	// 1e308 is a 64 bit float (the greatest is 1.797…e308). Above n+e = 308 the number must be parsed to know.
	maxSafeExponent = 308
)
