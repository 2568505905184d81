// Package chart draws diagrams of curves as SVG, for the documents.
package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Chart is a diagram of curves.
type Chart struct {
	Title, XName, YName string
	// XTicks are the marked values of the x axis, which reaches from the first to the last.
	XTicks []float64
	XText  func(float64) string
	// LogX and LogY make an axis logarithmic. A linear y axis starts at 0.
	LogX, LogY bool
	Curves     []Curve
}

// Curve is a line through points. If it is Plain, the points themselves are not drawn.
type Curve struct {
	Name   string
	Points []Point
	Plain  bool
}

// Point is a measured point. A bar shows the least and the most, unless the curve is plain.
type Point struct{ X, Y, Least, Most float64 }

const (
	width, height                            = 720, 420
	leftEdge, rightEdge, topEdge, bottomEdge = 70, 30, 50, 60
)

// colours can be told apart by colour-blind people.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// SVG draws the chart.
func (c *Chart) SVG() string { return Grid(1, c) }

// Grid draws charts beside and below each other.
func Grid(columns int, charts ...*Chart) string {
	rows := (len(charts) + columns - 1) / columns
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n", width*columns, height*rows)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="white"/>`+"\n", width*columns, height*rows)
	for i, c := range charts {
		if len(charts) > 1 {
			fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", width*(i%columns), height*(i/columns))
		}
		c.draw(&b)
		if len(charts) > 1 {
			b.WriteString("</g>\n")
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// draw writes the elements of one chart.
func (c *Chart) draw(b *strings.Builder) {
	text := func(x, y float64, anchor, extra, s string) {
		fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>`+"\n", x, y, anchor, extra, html.EscapeString(s))
	}
	line := func(x1, y1, x2, y2 float64, colour string, width float64) {
		fmt.Fprintf(b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"/>`+"\n", x1, y1, x2, y2, colour, width)
	}
	text(width/2, 24, "middle", ` font-size="15" font-weight="bold"`, c.Title)
	text((leftEdge+width-rightEdge)/2, height-14, "middle", "", c.XName)
	middle := float64(topEdge+height-bottomEdge) / 2
	text(18, middle, "middle", fmt.Sprintf(` transform="rotate(-90 18 %.0f)"`, middle), c.YName)
	ticks := c.yTicks()
	for _, y := range ticks {
		at := c.yAt(y, ticks)
		line(leftEdge, at, width-rightEdge, at, "#ddd", 1)
		text(leftEdge-8, at+4, "end", "", Short(y))
	}
	for _, x := range c.XTicks {
		line(c.xAt(x), height-bottomEdge, c.xAt(x), height-bottomEdge+5, "#444", 1)
		text(c.xAt(x), height-bottomEdge+20, "middle", "", c.XText(x))
	}
	line(leftEdge, height-bottomEdge, width-rightEdge, height-bottomEdge, "#444", 1)
	for i, curve := range c.Curves {
		colour := colours[i%len(colours)]
		var path []string
		for _, p := range curve.Points {
			x, y := c.xAt(p.X), c.yAt(p.Y, ticks)
			path = append(path, fmt.Sprintf("%.1f,%.1f", x, y))
			if !curve.Plain {
				line(x, c.yAt(p.Least, ticks), x, c.yAt(p.Most, ticks), colour, 1)
				fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n", x, y, colour)
			}
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(path, " "), colour)
		x, y := c.legendAt(i)
		line(x, y, x+25, y, colour, 2)
		text(x+32, y+4, "start", "", curve.Name)
	}
}

// legendAt returns where the legend of a curve begins: at the right, where curves over a
// logarithmic axis are low, or else in a row above the curves.
func (c *Chart) legendAt(i int) (x, y float64) {
	if c.LogX {
		return width - rightEdge - 150, float64(topEdge + 4 + 18*i)
	}
	return float64(leftEdge + i*(width-leftEdge-rightEdge)/len(c.Curves)), topEdge - 11
}

// xAt returns the position of a value on the x axis.
func (c *Chart) xAt(x float64) float64 {
	low, high := c.XTicks[0], c.XTicks[len(c.XTicks)-1]
	if c.LogX {
		low, high, x = math.Log(low), math.Log(high), math.Log(x)
	}
	const inset = 20
	return leftEdge + inset + (x-low)/(high-low)*(width-leftEdge-rightEdge-2*inset)
}

func (c *Chart) yAt(y float64, ticks []float64) float64 {
	low, high := ticks[0], ticks[len(ticks)-1]
	if c.LogY {
		// What is below the axis, such as 0, stands on it.
		low, high, y = math.Log(low), math.Log(high), math.Log(max(y, low))
	}
	return height - bottomEdge - (y-low)/(high-low)*(height-topEdge-bottomEdge)
}

// yTicks returns round values from below the least to above the most.
func (c *Chart) yTicks() (ticks []float64) {
	least, most := math.Inf(1), 0.0
	for _, curve := range c.Curves {
		for _, p := range curve.Points {
			most = max(most, p.most())
			if low := p.least(); low > 0 || !c.LogY { // 0 has no place on a logarithmic axis
				least = min(least, low)
			}
		}
	}
	if most == 0 && c.LogY {
		return []float64{1, 10} // nothing was measured
	}
	if most == 0 {
		return []float64{0, 1}
	}
	if c.LogY {
		return decades(least, most)
	}
	return Ticks(most)
}

// least and most return the ends of a point's bar.
func (p Point) least() float64 {
	if p.Least == 0 && p.Most == 0 {
		return p.Y
	}
	return p.Least
}

func (p Point) most() float64 { return max(p.Y, p.Most) }

// decades returns 1, 2, 5, 10, 20 …, from below least to above most. least is above 0.
func decades(least, most float64) (ticks []float64) {
	low := math.Pow(10, math.Floor(math.Log10(least)))
	for y := low; ; y *= 10 {
		for _, factor := range []float64{1, 2, 5} {
			ticks = append(ticks, y*factor)
			if len(ticks) > 1 && ticks[1] <= least {
				ticks = ticks[1:]
			}
			if y*factor >= most && len(ticks) > 1 {
				return ticks
			}
		}
	}
}

// Ticks returns at most eight round values from 0 to most or above, which is positive.
func Ticks(most float64) (ticks []float64) {
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, factor := range []float64{.1, .2, .25, .5, 1, 2} {
		if most/(step*factor) <= 6 {
			step *= factor
			break
		}
	}
	for y := 0.0; ; y += step {
		ticks = append(ticks, y)
		if y >= most {
			return ticks
		}
	}
}

// Short formats a figure with a suitable number of digits.
func Short(v float64) string {
	switch abs := math.Abs(v); {
	case abs >= 100 || v == float64(int64(v)):
		return fmt.Sprintf("%.0f", v)
	case abs < 0.01:
		return fmt.Sprintf("%.4f", v)
	case abs < 0.2:
		return fmt.Sprintf("%.3f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
