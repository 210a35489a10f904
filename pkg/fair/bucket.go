package fair

import "time"

// bucket holds what may be taken: burst at most, and one more after each interval.
// It is kept as the time when it is full again, which is exact where a count of
// parts is not. With an interval of 0 it is never empty.
type bucket struct {
	interval time.Duration
	burst    int
	full     time.Time
}

func newBucket(rate float64, burst int) bucket {
	if rate <= 0 {
		return bucket{}
	}
	return bucket{interval: time.Duration(float64(time.Second) / rate), burst: max(burst, 1)}
}

// has is from when on there are n to be taken: now or before it where there are.
func (b *bucket) has(n int, now time.Time) time.Time {
	if b.interval == 0 {
		return now
	}
	return b.orNow(now).Add(time.Duration(n-b.burst) * b.interval)
}

// take takes one.
func (b *bucket) take(now time.Time) {
	if b.interval != 0 {
		b.full = b.orNow(now).Add(b.interval)
	}
}

func (b *bucket) orNow(now time.Time) time.Time {
	if b.full.Before(now) {
		return now
	}
	return b.full
}
