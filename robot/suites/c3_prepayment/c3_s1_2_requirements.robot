*** Settings ***
Documentation       C3: the requirements that scenario 1 carries, one test each.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_limits.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Test Setup          The Site Is Provisioned


*** Test Cases ***
The Meter Displays The Prepayment Account
    [Tags]    C3-FR-01
    The Customer Has Prepaid    4200
    Display Shows Balance Energy Time Left And Update

The Display Is Refreshed Every Interval
    [Tags]    C3-FR-02
    Display Follows Each Refresh    2

The Meter Logs Messages With Its Own Time And Their Code
    [Tags]    C3-FR-05
    The Meters Clock Is Ahead By    90 seconds
    Meter Logs A Message With Its Own Time And Code    TEXT    text=Planned work on Tuesday
    Meter Logs A Message With Its Own Time And Code    CONNECT
    Meter Logs A Message With Its Own Time And Code    BALANCE    cents=${4100}
    Meter Logs A Message With Its Own Time And Code    PREPAYMENT    cents=${4200}
    Meter Logs A Message With Its Own Time And Code    LIMIT    limit_w=${5000}
    Meter Logs A Message With Its Own Time And Code    RESTORE
    Meter Logs A Message With Its Own Time And Code    DISCONNECT
    Meter Logs A Message With Its Own Time And Code    SCHEDULE
    Meter Logs A Message With Its Own Time And Code    BILLING    billing=regular
    Meter Logs A Message With Its Own Time And Code    TEST

The ADCS Passes Everything On To The MDMS
    [Tags]    C3-FR-12
    The Customer Has Prepaid    1500
    The Head End Sends    TEST
    A Recording Interval Ends
    ADCS Has Passed On Everything Of The Meter

The Meter Returns A Receipt
    [Tags]    C3-FR-15
    The Customer Prepays While The Analyzer Watches    1500
    Receipt Names Message Meter And Completion

The Meter Records Interval Usage
    [Tags]    C3-FR-19
    The Head End Sends    CONNECT
    Meter Records Energy In Intervals

The ADCS Logs Every Transaction
    [Tags]    C3-FR-25
    The Head End Sends    CONNECT
    The Head End Sends    LIMIT    limit_w=${5000}
    The Head End Sends    RESTORE
    The Head End Sends    TEXT    text=Thank you
    The Head End Sends    DISCONNECT
    The Head End Schedules An Event
    The Head End Sends    TEST
    The Head End Alerts    Your balance is low
    The Customer Has Prepaid    1500
    ADCS Has Logged Every Message And Receipt

The Meter Logs Every Transaction
    [Tags]    C3-FR-26
    The Head End Sends    CONNECT
    The Head End Sends    LIMIT    limit_w=${5000}
    The Head End Sends    RESTORE
    The Head End Sends    TEXT    text=Thank you
    The Head End Sends    DISCONNECT
    The Head End Schedules An Event
    The Head End Sends    TEST
    The Head End Alerts    Your balance is low
    The Customer Has Prepaid    1500
    Meter Has Logged Every Message And Receipt

The MDMS Makes Meter Data Available
    [Tags]    C3-FR-31
    The Customer Has Prepaid    1500
    The Head End Sends    TEST
    The Head End Schedules An Event
    A Recording Interval Ends
    The Head End Collects
    MDMS Makes Everything Available

The ADCS Processes Requests Of Other Systems
    [Tags]    C3-FR-32
    ADCS Receives Logs And Processes    CONNECT
    ADCS Receives Logs And Processes    LIMIT    limit_w=${5000}
    ADCS Receives Logs And Processes    DISCONNECT
    ADCS Receives Logs And Processes    SCHEDULE
    ADCS Receives Logs And Processes    TEST

Commands Are Executed In Time
    [Tags]    C3-NFR-02
    Command Is Executed In Time    CONNECT
    Command Is Executed In Time    DISCONNECT
    The Head End Sends    CONNECT
    Command Is Executed In Time    LIMIT    limit_w=${300}
    Load Trips On The Limit    30 seconds
    Command Is Executed In Time    RESTORE
    Load Stays On Without A Limit    30 seconds

The ADCS Passes On At Once What Comes In
    [Tags]    C3-NFR-06
    The Customer Has Prepaid    1500
    ADCS Passes Receipt To MDMS Within    at once
    ADCS Passes Test Results To MDMS Within    at once
    A Recording Interval Ends
    ADCS Passes Usage To MDMS Within    at once

The MDMS Makes Data Available At Once
    [Tags]    C3-NFR-07
    The Customer Has Prepaid    1500
    MDMS Makes Data Available Within    at once

The Balance Is Replenished By Payments Never At The Meter
    [Tags]    C3-BR-01
    Every Payment Option Is Taken    1500
    Meter Takes No Payment    1000

A Minimum Payment Applies
    [Tags]    C3-BR-02
    Payments Below The Minimum Are Refused

The Meter Serves Prepaid And Regular Billing
    [Tags]    C3-FR-27
    The Head End Sends    CONNECT
    Meter Converts To    prepaid
    Meter Converts To    regular

The ADCS Sends Schedules On Demand
    [Tags]    C3-FR-30
    ADCS Sends A Schedule On Demand

The Meter Processes Commands At Once Or By Schedule
    [Tags]    C3-NFR-03
    Command Is Processed At Once    CONNECT
    Command Is Processed At Once    LIMIT    limit_w=${300}
    Command Is Processed At Once    RESTORE
    Command Is Processed At Once    DISCONNECT
    Scheduled Event Runs From Start To End    30 seconds    30 seconds
    Stored Commands Switch The Service    40 seconds    C3-NFR-03

# The last one: a day passes, and events that other tests have scheduled come near.
The ADCS Collects Interval Data Daily
    [Tags]    C3-FR-20
    ADCS Collects Intervals Daily
