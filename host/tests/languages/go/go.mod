module payments

go 1.25

require tidemill.dev/tidemill v0.1.0

replace tidemill.dev/tidemill => ../../../../sdk/go
