package fair

const MaxTenants = maxTenants

// Tenants is of how many tenants anything is kept.
func (q *Queue) Tenants() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.tenants)
}

// Waits is how many wait.
func (q *Queue) Waits() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, t := range q.turns {
		n += len(t.waiting[foreground]) + len(t.waiting[background])
	}
	return n
}

// Held is how many are in.
func (q *Queue) Held() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.held
}
