*** Settings ***
Documentation       C3: what is asked of the head-end and of the meter data management system.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_head_end.py
Library             ../../keywords/prepayment_meter_data.py
Library             ../../keywords/prepayment_customer_service.py
Library             ../../keywords/prepayment_display.py
Library             ../../keywords/prepayment_head_end_dispatch.py
Test Setup          The Site Is Provisioned
Test Teardown       The Head End Is Left As It Was


*** Variables ***
# Below what the load draws, and above it.
${BELOW LOAD}       300
${ABOVE LOAD}       2000


*** Test Cases ***
Rules Act By Schedule Class And Weather
    [Tags]    C3-FR-10
    The Service Is    on
    A Rule Acts By Schedule    2 minutes    3 minutes
    A Rule Is For Its Customer Class    ${BELOW LOAD}    30 seconds
    The Service Is    on
    Extreme Weather Holds A Disconnect Back    41    ${ABOVE LOAD}    30 seconds

The ADCS Sends Informational And Functional Messages
    [Tags]    C3-FR-11
    Informational Messages Reach The Meter    Planned work on Tuesday    2345
    Functional Messages Reach The Meter    ${BELOW LOAD}    20 seconds

Commands Are Scheduled Rescheduled And Cancelled
    [Tags]    C3-FR-14
    The Service Is    on
    A Planned Command Is Carried Out When Due    DISCONNECT    3 minutes
    A Planned Command Can Be Moved    CONNECT    2 minutes    4 minutes
    A Planned Limit Trips The Load When Due    ${BELOW LOAD}    2 minutes
    The Service Is    on
    A Planned Command Can Be Cancelled    DISCONNECT    2 minutes

Alerts Are Repeated As Often As Configured
    [Tags]    C3-FR-24    C3-NFR-11
    The Display Has Joined    1 minute
    An Alert Is Repeated Until Its End    Your balance is low    5 minutes    3
    An Alert Is Repeated Until Its End    Service ends today    2 minutes    2
    An Alert Is Repeated Until Taken Back    Please prepay    3 minutes    2

An Alert Reaches Meter And Display In Time
    [Tags]    C3-NFR-09
    The Display Has Joined    1 minute
    An Alert Reaches The Display In Time    Service ends in one hour

Messages Go By The Priorities That The Utility Configures
    [Tags]    C3-NFR-04
    The Service Is    on
    An Urgent Message Overtakes Waiting Ones    4
    The Utility Configures Priorities

A Command Without A Receipt Is Retried Once
    [Tags]    C3-NFR-10
    A Command That Is Lost Is Retried Once    30 seconds
    A Command Whose Receipt Is Lost Is Retried Once    30 seconds

Meter Data Can Be Read Over REST
    [Tags]    C3-FR-31    C3-NFR-07
    The Head End Sends    TEST
    The Head End Collects
    Meter Data Can Be Read Over REST
    Meter Data Can Be Read Over REST At Once
