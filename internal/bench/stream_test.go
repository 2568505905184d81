package bench

import (
	"testing"

	"pgregory.net/rapid"
)

func TestStream(t *testing.T) {
	tests := []struct {
		name     string
		numbers  []uint32
		verdicts []verdict
		missing  uint32
	}{
		{"in order", []uint32{0, 1, 2}, []verdict{inOrder, inOrder, inOrder}, 0},
		{"lost", []uint32{0, 1, 3}, []verdict{inOrder, inOrder, inOrder}, 1},
		{"the first lost", []uint32{1}, []verdict{inOrder}, 1},
		{"reordered", []uint32{0, 2, 1, 3}, []verdict{inOrder, inOrder, late, inOrder}, 0},
		{"twice", []uint32{0, 1, 1, 0, 2}, []verdict{inOrder, inOrder, twice, twice, inOrder}, 0},
		{"late and twice", []uint32{2, 0, 0, 1}, []verdict{inOrder, late, twice, late}, 0},
		{"a long way back", []uint32{200, 0, 199, 199}, []verdict{inOrder, late, late, twice}, 198},
		{"an old one twice", []uint32{0, 1, 90}, []verdict{inOrder, inOrder, inOrder}, 88},
	}
	for _, test := range tests {
		var s stream
		for i, n := range test.numbers {
			if got := s.noteNumber(n); got != test.verdicts[i] {
				t.Errorf("%s: number %d is %d, want %d", test.name, n, got, test.verdicts[i])
			}
		}
		if s.missing != test.missing {
			t.Errorf("%s: %d missing, want %d", test.name, s.missing, test.missing)
		}
	}
}

// TestStreamModel checks that a stream is right about the last 64 numbers.
func TestStreamModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s stream
		seen := map[uint32]bool{}
		for range rapid.IntRange(1, 200).Draw(t, "messages") {
			back := rapid.IntRange(-5, recentBits).Draw(t, "back")
			n := uint32(max(int(s.next)-back, 0))
			want := inOrder
			switch {
			case seen[n]:
				want = twice
			case n < s.next:
				want = late
			}
			seen[n] = true
			if got := s.noteNumber(n); got != want {
				t.Fatalf("number %d is %d, want %d", n, got, want)
			}
			if s.received() != int64(len(seen)) {
				t.Fatalf("%d received, want %d", s.received(), len(seen))
			}
		}
	})
}
