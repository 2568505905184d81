package chart

import (
	"encoding/xml"
	"io"
	"math"
	"strings"
	"testing"
)

func someChart(logarithmic bool) *Chart {
	return &Chart{
		Title: "Costs & more", XName: "subscribers", YName: "µs", LogX: true, LogY: logarithmic, XTicks: []float64{1, 100, 10000}, XText: Short,
		Curves: []Curve{
			{Name: "a <server>", Points: []Point{{1, 30, 20, 40}, {100, 9, 8, 10}, {10000, 8, 7, 9}}},
			{Name: "another", Points: []Point{{1, 50, 50, 50}, {10000, 12, 11, 13}}},
		},
	}
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
}

// TestChart checks that a diagram is well-formed and within its frame.
func TestChart(t *testing.T) {
	for _, logarithmic := range []bool{false, true} {
		c := someChart(logarithmic)
		text := c.SVG()
		wellFormed(t, text)
		if n := strings.Count(text, "<circle"); n != 5 {
			t.Errorf("%d points, want 5", n)
		}
		for _, want := range []string{"Costs &amp; more", "a &lt;server&gt;", "another", "subscribers"} {
			if !strings.Contains(text, want) {
				t.Errorf("no %q", want)
			}
		}
		ticks := c.yTicks()
		for _, curve := range c.Curves {
			for _, p := range curve.Points {
				x := c.xAt(p.X)
				for _, y := range []float64{p.Least, p.Y, p.Most} {
					if at := c.yAt(y, ticks); x < leftEdge || x > width-rightEdge || at < topEdge-1e-9 || at > height-bottomEdge+1e-9 {
						t.Errorf("%v, %v is drawn at %v, %v", p.X, y, x, at)
					}
				}
			}
		}
		if c.yAt(40, ticks) >= c.yAt(20, ticks) || c.xAt(1) >= c.xAt(100) || math.Abs((c.xAt(1)+c.xAt(10000))/2-c.xAt(100)) > 1e-6 {
			t.Error("an axis points the wrong way or grows unevenly")
		}
	}
}

// TestGrid checks several charts in one picture, one of which has a linear x axis, points
// at 0 and no circles, and one of which has nothing to show.
func TestGrid(t *testing.T) {
	over := &Chart{
		Title: "Time", XName: "s", YName: "n", XTicks: Ticks(10), XText: Short, LogY: true,
		Curves: []Curve{{Name: "n", Plain: true, Points: []Point{{X: 0, Y: 0}, {X: 5, Y: 3}, {X: 10, Y: 40}}}},
	}
	empty := &Chart{Title: "Empty", LogY: true, XTicks: Ticks(1), XText: Short, Curves: []Curve{{Name: "none", Plain: true}}}
	text := Grid(2, over, someChart(false), empty)
	wellFormed(t, text)
	if !strings.Contains(text, `viewBox="0 0 1440 840"`) || strings.Count(text, "<g ") != 3 || strings.Count(text, "<circle") != 5 || strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
		t.Errorf("the grid is not right:\n%s", text)
	}
	if at := over.yAt(0, over.yTicks()); at != height-bottomEdge {
		t.Errorf("0 on a logarithmic axis is drawn at %v, want its end, %v", at, height-bottomEdge)
	}
	if middle := (over.xAt(0) + over.xAt(10)) / 2; math.Abs(over.xAt(5)-middle) > 1e-6 {
		t.Errorf("5 of 0 to 10 is drawn at %v, want %v", over.xAt(5), middle)
	}
}

func TestTicks(t *testing.T) {
	for most, want := range map[float64]float64{1: 1, 7.3: 8, 30: 30, 34.2: 40, 99: 100, 101: 120, 119: 120, 7: 8} {
		ticks := Ticks(most)
		if last := ticks[len(ticks)-1]; math.Abs(last-want) > 1e-9 || ticks[0] != 0 || len(ticks) < 3 || len(ticks) > 8 {
			t.Errorf("the ticks up to %v are %v", most, ticks)
		}
	}
}

func TestShort(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 2: "2", 1234.5: "1234", 0.0003: "0.0003", 0.12: "0.120", 1.234: "1.23", -1.2: "-1.20", -0.12: "-0.120"} {
		if got := Short(v); got != want {
			t.Errorf("%v is %q, want %q", v, got, want)
		}
	}
}
