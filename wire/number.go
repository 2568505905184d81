package wire

import "strconv"

// scanNumber checks the number at i. An integer may be of any length; a number with a fraction or an
// exponent has to fit a 64 bit float, as it is one for Phoenix and for every client. One that is too
// small is 0 to all of them and is let through.
func scanNumber(b []byte, i int) (int, fault) {
	start := i
	if b[i] == '-' {
		i++
	}
	first := i
	i = digitsEnd(b, i)
	digits := i - first
	if digits == 0 || digits > 1 && b[first] == '0' {
		return start, faultNumber
	}
	if i >= len(b) || b[i] != '.' && b[i]|0x20 != 'e' {
		return i, faultNone
	}
	if b[i] == '.' {
		if i++; digitsEnd(b, i) == i {
			return start, faultNumber
		}
		i = digitsEnd(b, i)
	}
	exponent := 0
	if i < len(b) && b[i]|0x20 == 'e' {
		var f fault
		if exponent, i, f = scanExponent(b, i+1); f != faultNone {
			return start, f
		}
	}
	if digits+exponent > maxSafeExponent {
		if _, err := strconv.ParseFloat(string(b[start:i]), 64); err != nil {
			return start, faultRange
		}
	}
	return i, faultNone
}

// scanExponent checks what follows the letter e. Exponents without end stop growing far
// beyond the range of floats and of digits a frame can hold in front of them.
func scanExponent(b []byte, i int) (exponent, end int, f fault) {
	const enough = 1 << 26 // ten times as much still fits an int of 32 bits
	sign := 1
	if i < len(b) && (b[i] == '-' || b[i] == '+') {
		if b[i] == '-' {
			sign = -1
		}
		i++
	}
	end = digitsEnd(b, i)
	if end == i {
		return 0, i, faultNumber
	}
	for _, c := range b[i:end] {
		if exponent < enough {
			exponent = exponent*10 + int(c-'0')
		}
	}
	return sign * exponent, end, faultNone
}

func digitsEnd(b []byte, i int) int {
	for i < len(b) && b[i]-'0' < 10 {
		i++
	}
	return i
}
